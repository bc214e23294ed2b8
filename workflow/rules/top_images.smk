"""The images that activate the chosen latents most, beside neurons → Figs 2 and 10.

INPUTS   chosen sets of Tables 1 and 2, {results}/activations/**, their SAEs, the images
OUTPUTS  {results}/fig2.*, fig10.*, top_images.csv, {results}/measurements/top_images/** (the top
         images of every latent and neuron of the layers shown)
"""

from clip_sae.pictures_plan import PicturesPlan

if "pictures" in config["analyses"]:
    PICTURES = config["analyses"]["pictures"]
    pictures = PicturesPlan(
        plan,
        suppression if "suppression" in config["analyses"] else None,
        typographic if "typographic" in config["analyses"] else None,
    )

    for name in pictures.sets:
        top = pictures.top_images(name)

        rule:
            name:
                f"measure_top_images_{name}"
            input:
                needs(top),
            output:
                top.path,
            log:
                f"{LOGS}/measure_top_images_{name}.log",
            benchmark:
                f"{BENCHMARKS}/measure_top_images_{name}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
                batch_images=32,
            params:
                spec=job_spec(
                    top,
                    script="measure_top_images",
                    **pictures.arguments(name),
                    **pictures.top_spec(name),
                ),
            script:
                "../scripts/measure_top_images.py"

    TARGETS["all"] += [pictures.table.path]

    rule gather_top_images:
        input:
            needs(pictures.table),
        output:
            with_sidecar(pictures.table),
        log:
            f"{LOGS}/gather_top_images.log",
        benchmark:
            f"{BENCHMARKS}/gather_top_images.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                pictures.table,
                script="gather_rows",
                rows=[
                    f"{pictures.top_images(name).folder}/shown.csv"
                    for name in pictures.sets
                ],
            ),
        script:
            "../scripts/gather_rows.py"

    for figure in [name for name in pictures.figures if name in ("fig2", "fig10")]:
        drawn = pictures.figure(figure)
        TARGETS["all"] += [drawn.path, f"{RESULTS}/{figure}.svg"]

        rule:
            name:
                figure
            input:
                needs(drawn),
            output:
                with_sidecar(drawn),
                svg=f"{RESULTS}/{figure}.svg",
            log:
                f"{LOGS}/{figure}.log",
            benchmark:
                f"{BENCHMARKS}/{figure}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    drawn,
                    script="plot_top_images",
                    resources=["style.mplstyle"],
                    figure=figure,
                    grid=pictures.grid,
                    images=PICTURES["images"],
                    units=PICTURES["units"],
                    sets=[
                        {
                            "folder": str(pictures.top_images(name).folder),
                            **plan.pixels(name),
                        }
                        for name in pictures.sets
                    ],
                ),
            script:
                "../scripts/plot_top_images.py"

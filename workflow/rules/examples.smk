"""One image each whose answer changes when the chosen latents are taken out → Figs 1 and 3.

INPUTS   chosen sets of Tables 1 and 2, {results}/activations/**, their SAEs, the images
OUTPUTS  {results}/fig1.*, fig3.*, {results}/measurements/examples/*.json
"""

if "pictures" in config["analyses"]:
    for name in pictures.sets_of("fig1"):
        example = pictures.example(name)

        rule:
            name:
                f"measure_example_{name}"
            input:
                needs(example),
            output:
                with_sidecar(example),
            log:
                f"{LOGS}/measure_example_{name}.log",
            benchmark:
                f"{BENCHMARKS}/measure_example_{name}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    example,
                    script="measure_example",
                    model=config["model"],
                    **pictures.arguments(name),
                    **pictures.example_spec(name),
                ),
            script:
                "../scripts/measure_example.py"

    for name in pictures.sets_of("fig3"):
        example = pictures.example(name)

        rule:
            name:
                f"measure_attack_example_{name}"
            input:
                needs(example),
            output:
                with_sidecar(example),
            log:
                f"{LOGS}/measure_attack_example_{name}.log",
            benchmark:
                f"{BENCHMARKS}/measure_attack_example_{name}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    example,
                    script="measure_attack_example",
                    model=config["model"],
                    **pictures.arguments(name),
                    **pictures.example_spec(name),
                ),
            script:
                "../scripts/measure_attack_example.py"

    for figure in [name for name in pictures.figures if name in ("fig1", "fig3")]:
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
                    script="plot_example",
                    resources=["style.mplstyle"],
                    figure=figure,
                    grid=pictures.grid,
                    sets=[
                        {
                            "file": pictures.example(name).path,
                            "example": PICTURES["examples"].get(name),
                            **plan.pixels(name),
                        }
                        for name in pictures.sets_of(figure)
                    ],
                ),
            script:
                "../scripts/plot_example.py"

"""What adaptation changes: concepts, or the map from concepts to classes (target `adaptation`).

INPUTS   {results}/adaptation/**, {results}/saes/{recipe}/**, images of the adaptation data sets
OUTPUTS  {results}/adaptation_changes.csv, adaptation_changes_classes.csv,
         adaptation_changes_latents.csv.gz, adaptation_changes.md, adaptation_changes.png
"""

from clip_sae.adaptation_changes_plan import AdaptationChangesPlan

if config["analyses"].get("adaptation", {}).get("changes"):
    changes = AdaptationChangesPlan(adaptation)
    TARGETS["adaptation"] += [
        *(table.path for table in changes.tables.values()),
        changes.rendered.path,
        changes.figure.path,
        changes.drawing,
    ]

    for dataset, method in changes.pairs:
        measured = changes.measured(dataset, method)

        rule:
            name:
                f"measure_changes_{dataset}_{method}"
            input:
                needs(measured),
            output:
                measured.path,
            log:
                f"{LOGS}/measure_changes_{dataset}_{method}.log",
            benchmark:
                f"{BENCHMARKS}/measure_changes_{dataset}_{method}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
                batch_images=32,
            params:
                spec=job_spec(
                    measured,
                    script="measure_changes",
                    model=config["model"],
                    layer=changes.layer,
                    sae=changes.sae.folder,
                    index=str(plan.index(dataset).folder),
                    data_root=plan.data_root(dataset),
                    method=adaptation.adapted(dataset, method),
                    frozen=changes.frozen(dataset),
                    **changes.measured_spec(dataset),
                ),
            script:
                "../scripts/measure_changes.py"

    rule adaptation_changes:
        input:
            needs(*changes.tables.values()),
        output:
            [path for table in changes.tables.values() for path in with_sidecar(table)],
        log:
            f"{LOGS}/adaptation_changes.log",
        benchmark:
            f"{BENCHMARKS}/adaptation_changes.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                *changes.tables.values(),
                script="summarise_changes",
                folders=[
                    [dataset, method, str(changes.measured(dataset, method).folder)]
                    for dataset, method in changes.pairs
                ],
                tables={name: table.path for name, table in changes.tables.items()},
                **plan.interval_spec,
            ),
        script:
            "../scripts/summarise_changes.py"

    rule plot_adaptation_changes:
        input:
            needs(changes.figure),
        output:
            with_sidecar(changes.figure),
            svg=changes.drawing,
        log:
            f"{LOGS}/plot_adaptation_changes.log",
        benchmark:
            f"{BENCHMARKS}/plot_adaptation_changes.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                changes.figure,
                script="plot_changes",
                resources=["style.mplstyle"],
                tables={name: table.path for name, table in changes.tables.items()},
                caption=changes.caption,
            ),
        script:
            "../scripts/plot_changes.py"

    rule render_adaptation_changes:
        input:
            needs(changes.rendered),
        output:
            with_sidecar(changes.rendered),
        log:
            f"{LOGS}/render_adaptation_changes.log",
        benchmark:
            f"{BENCHMARKS}/render_adaptation_changes.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                changes.rendered,
                script="render_changes",
                shares=changes.tables["shares"].path,
                classes=changes.tables["classes"].path,
                caption=changes.caption,
            ),
        script:
            "../scripts/render_changes.py"

"""Content from outside: data sets become manifests, weights become a fingerprint.

INPUTS   the data folders named in the config (or none: the demo world is drawn), the checkpoint
OUTPUTS  {results}/world/*, {results}/datasets/*/manifest.csv, {results}/fingerprints/model-*
"""


rule fingerprint_model:
    input:
        out_of_date(plan.model),
    output:
        plan.model.path,
    params:
        spec=job_spec(plan.model, model=config["model"]),
    log:
        f"{LOGS}/fingerprint_model.log",
    benchmark:
        f"{BENCHMARKS}/fingerprint_model.tsv"
    conda:
        "../../envs/clip_sae.yaml"
    script:
        "../scripts/fingerprint_model.py"


# How many images of each split, how many skipped: one row per data set.
summary = plan.measured(
    "datasets.csv", "summarise_datasets", upstream=[plan.index(name) for name in config["datasets"]]
)
TARGETS["all"] += [summary.path]


rule summarise_datasets:
    input:
        paths_of(summary.upstream),
        out_of_date(summary),
    output:
        with_sidecar(summary),
    params:
        spec=job_spec(
            summary,
            script="summarise_datasets",
            datasets={name: plan.index(name).path for name in config["datasets"]},
        ),
    log:
        f"{LOGS}/summarise_datasets.log",
    benchmark:
        f"{BENCHMARKS}/summarise_datasets.tsv"
    conda:
        "../../envs/clip_sae.yaml"
    script:
        "../scripts/summarise_datasets.py"


for dataset, block in config["datasets"].items():
    index = plan.index(dataset)
    if block["draw"] is not None:
        drawn = plan.drawn(dataset)

        rule:
            name:
                f"draw_{dataset}"
            input:
                out_of_date(drawn),
            output:
                drawn.path,
            params:
                spec=job_spec(drawn, draw=block["draw"]),
            log:
                f"{LOGS}/draw_{dataset}.log",
            benchmark:
                f"{BENCHMARKS}/draw_{dataset}.tsv"
            threads: 2
            conda:
                "../../envs/clip_sae.yaml"
            script:
                "../scripts/draw_dataset.py"

    rule:
        name:
            f"index_{dataset}"
        input:
            paths_of(index.upstream),
            out_of_date(index),
        output:
            complete=index.path,
            manifest=f"{index.folder}/manifest.csv",
            classes=f"{index.folder}/classes.csv",
        params:
            spec=job_spec(index, dataset=block, root=plan.data_root(dataset)),
        log:
            f"{LOGS}/index_{dataset}.log",
        benchmark:
            f"{BENCHMARKS}/index_{dataset}.tsv"
        threads: 2
        conda:
            "../../envs/clip_sae.yaml"
        script:
            "../scripts/index_dataset.py"

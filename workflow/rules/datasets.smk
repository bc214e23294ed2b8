"""Content from outside: data sets become manifests, weights become a fingerprint.

INPUTS   the data folders named in the config (or none: the demo world is drawn), the checkpoint
OUTPUTS  {results}/world/*, {results}/datasets/*/manifest.csv, {results}/fingerprints/model-*
"""


rule fingerprint_model:
    input:
        needs(plan.model),
    output:
        plan.model.path,
    log:
        f"{LOGS}/fingerprint_model.log",
    benchmark:
        f"{BENCHMARKS}/fingerprint_model.tsv"
    conda:
        "../../envs/clip_sae.yaml"
    params:
        spec=job_spec(plan.model, model=config["model"]),
    script:
        "../scripts/fingerprint_model.py"


# How many images of each split, how many skipped: one row per data set.
summary = plan.measured(
    "datasets.csv",
    "summarise_datasets",
    upstream=[plan.index(name) for name in config["datasets"]],
)
TARGETS["all"] += [summary.path]


rule summarise_datasets:
    input:
        needs(summary),
    output:
        with_sidecar(summary),
    log:
        f"{LOGS}/summarise_datasets.log",
    benchmark:
        f"{BENCHMARKS}/summarise_datasets.tsv"
    localrule: True
    conda:
        "../../envs/clip_sae.yaml"
    params:
        spec=job_spec(
            summary,
            script="summarise_datasets",
            datasets={name: plan.index(name).path for name in config["datasets"]},
        ),
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
                needs(drawn),
            output:
                drawn.path,
            log:
                f"{LOGS}/draw_{dataset}.log",
            benchmark:
                f"{BENCHMARKS}/draw_{dataset}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 2
            params:
                spec=job_spec(drawn, draw=block["draw"]),
            script:
                "../scripts/draw_dataset.py"

    if block["attack"] is not None:
        attacked = plan.attacked(dataset)
        source = block["attack"]["dataset"]

        rule:
            name:
                f"attack_{dataset}"
            input:
                needs(attacked),
            output:
                attacked.path,
            log:
                f"{LOGS}/attack_{dataset}.log",
            benchmark:
                f"{BENCHMARKS}/attack_{dataset}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 2
            params:
                spec=job_spec(
                    attacked,
                    attack=block["attack"],
                    root=plan.data_root(dataset),
                    index=str(plan.index(source).folder),
                    data_root=plan.data_root(source),
                    decoding=plan.decoding(source),
                ),
            script:
                "../scripts/attack_dataset.py"

    rule:
        name:
            f"index_{dataset}"
        input:
            needs(index),
        output:
            complete=index.path,
            manifest=f"{index.folder}/manifest.csv",
            classes=f"{index.folder}/classes.csv",
        log:
            f"{LOGS}/index_{dataset}.log",
        benchmark:
            f"{BENCHMARKS}/index_{dataset}.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 2
        params:
            spec=job_spec(
                index,
                dataset=block,
                root=plan.data_root(dataset),
                photographs=(
                    str(plan.index(block["augment"]["dataset"]).folder)
                    if block["augment"]
                    else None
                ),
            ),
        script:
            "../scripts/index_dataset.py"

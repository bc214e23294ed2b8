"""Concepts and classes: only, or without, the strongest latents of a class (PatchSAE §4.1).

INPUTS   {results}/activations/**, {results}/saes/{recipe}/**
OUTPUTS  {results}/class_concepts.csv, class_concepts.png, class_concepts.md (target `all`)
"""

from clip_sae.class_concepts_plan import ClassConceptsPlan

if "class_concepts" in config["analyses"]:
    class_concepts = ClassConceptsPlan(plan)
    TARGETS["all"] += [
        class_concepts.table.path,
        class_concepts.figure.path,
        f"{RESULTS}/class_concepts.svg",
        class_concepts.rendered.path,
    ]

    rule count_classes:
        input:
            needs(class_concepts.counts),
        output:
            with_sidecar(class_concepts.counts),
        log:
            f"{LOGS}/count_classes.log",
        benchmark:
            f"{BENCHMARKS}/count_classes.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 1
        resources:
            gpu=gpus,
            batch_images=32,
        params:
            spec=job_spec(
                class_concepts.counts,
                script="count_classes",
                index=str(class_concepts.index.folder),
                store=str(class_concepts.store("train").folder),
                sae=class_concepts.sae.folder,
                **class_concepts.counts_spec,
            ),
        script:
            "../scripts/count_classes.py"

    rule class_concepts:
        input:
            needs(class_concepts.table),
        output:
            with_sidecar(class_concepts.table),
        log:
            f"{LOGS}/class_concepts.log",
        benchmark:
            f"{BENCHMARKS}/class_concepts.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 1
        resources:
            gpu=gpus,
            batch_images=64,
        params:
            spec=job_spec(
                class_concepts.table,
                script="measure_class_concepts",
                model=config["model"],
                layer=class_concepts.layer,
                index=str(class_concepts.index.folder),
                store=str(class_concepts.store(class_concepts.block["split"]).folder),
                sae=class_concepts.sae.folder,
                counts=class_concepts.counts.path,
                **class_concepts.table_spec,
            ),
        script:
            "../scripts/measure_class_concepts.py"

    rule plot_class_concepts:
        input:
            needs(class_concepts.figure),
        output:
            with_sidecar(class_concepts.figure),
            svg=f"{RESULTS}/class_concepts.svg",
        log:
            f"{LOGS}/plot_class_concepts.log",
        benchmark:
            f"{BENCHMARKS}/plot_class_concepts.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                class_concepts.figure,
                script="plot_class_concepts",
                resources=["style.mplstyle"],
                csv=class_concepts.table.path,
            ),
        script:
            "../scripts/plot_class_concepts.py"

    rule render_class_concepts:
        input:
            needs(class_concepts.rendered),
        output:
            with_sidecar(class_concepts.rendered),
        log:
            f"{LOGS}/render_class_concepts.log",
        benchmark:
            f"{BENCHMARKS}/render_class_concepts.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                class_concepts.rendered,
                script="render_class_concepts",
                csv=class_concepts.table.path,
                caption=class_concepts.caption,
            ),
        script:
            "../scripts/render_class_concepts.py"

"""Concepts: what each latent stands for, and where it is (PatchSAE §3).

INPUTS   {results}/activations/**, {results}/saes/{recipe}/**, the images, their masks if known
OUTPUTS  {results}/concepts.csv, concepts.png, concept_masks.csv, concept_masks.png,
         {results}/measurements/concepts/** (class × latent counts, top images with patch maps,
         the strongest latents of every image)
"""

from clip_sae.concepts_plan import ConceptsPlan

if "concepts" in config["analyses"]:
    concepts = ConceptsPlan(plan)
    TARGETS["all"] += [
        *(table.path for table in concepts.tables.values()),
        concepts.scatter.path,
        f"{RESULTS}/concepts.svg",
        concepts.pictures.path,
        f"{RESULTS}/concept_masks.svg",
    ]

    rule measure_concepts:
        input:
            needs(concepts.measured),
        output:
            concepts.measured.path,
        log:
            f"{LOGS}/measure_concepts.log",
        benchmark:
            f"{BENCHMARKS}/measure_concepts.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 1
        resources:
            gpu=gpus,
            batch_images=32,
        params:
            spec=job_spec(
                concepts.measured,
                script="measure_concepts",
                index=str(concepts.index.folder),
                store=str(concepts.store(concepts.block["split"]).folder),
                sae=concepts.sae.folder,
                label=concepts.sae.label,
                layer=concepts.layer,
                **concepts.spec,
            ),
        script:
            "../scripts/measure_concepts.py"

    rule measure_masks:
        input:
            needs(concepts.masks),
        output:
            concepts.masks.path,
        log:
            f"{LOGS}/measure_masks.log",
        benchmark:
            f"{BENCHMARKS}/measure_masks.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 1
        resources:
            gpu=gpus,
            batch_images=32,
        params:
            spec=job_spec(
                concepts.masks,
                script="measure_masks",
                place=plan.pixels(concepts.dataset),
                grid=concepts.grid,
                measured=str(concepts.measured.folder),
                store=str(concepts.store(concepts.shown_split).folder),
                sae=concepts.sae.folder,
                label=concepts.sae.label,
                layer=concepts.layer,
                **concepts.masks_spec,
            ),
        script:
            "../scripts/measure_masks.py"

    for name, table in concepts.tables.items():

        rule:
            name:
                f"gather_{name}"
            input:
                needs(table),
            output:
                with_sidecar(table),
            log:
                f"{LOGS}/gather_{name}.log",
            benchmark:
                f"{BENCHMARKS}/gather_{name}.tsv"
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    table,
                    script="gather_rows",
                    rows=[f"{made.folder}/{name}.csv" for made in table.upstream],
                ),
            script:
                "../scripts/gather_rows.py"

    rule plot_concepts:
        input:
            needs(concepts.scatter),
        output:
            with_sidecar(concepts.scatter),
            svg=f"{RESULTS}/concepts.svg",
        log:
            f"{LOGS}/plot_concepts.log",
        benchmark:
            f"{BENCHMARKS}/plot_concepts.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                concepts.scatter,
                script="plot_concepts",
                resources=["style.mplstyle"],
                csv=concepts.tables["concepts"].path,
                **concepts.caption,
            ),
        script:
            "../scripts/plot_concepts.py"

    rule plot_concept_masks:
        input:
            needs(concepts.pictures),
        output:
            with_sidecar(concepts.pictures),
            svg=f"{RESULTS}/concept_masks.svg",
        log:
            f"{LOGS}/plot_concept_masks.log",
        benchmark:
            f"{BENCHMARKS}/plot_concept_masks.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                concepts.pictures,
                script="plot_concept_masks",
                resources=["style.mplstyle"],
                place=plan.pixels(concepts.dataset),
                grid=concepts.grid,
                measured=str(concepts.measured.folder),
                masks=str(concepts.masks.folder),
                known_masks=bool(concepts.block["masks"]),
                chosen=bool(concepts.block["examples"]),
                **concepts.caption,
            ),
        script:
            "../scripts/plot_concept_masks.py"

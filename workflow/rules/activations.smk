"""Images → activations: one forward pass per split and block of layers fills several stores.

A loop, because one pass makes several artefacts. Declared in src/clip_sae/planning/stores.py.

Split over jobs (`--set-scatter extraction=8`): one begins the stores, each part fills ranges of
images, whole shards of every store, and the last checks every byte of them and completes the stores.
"""

for job in plan.extraction_jobs(PASSES):
    extraction = plan.extraction_step(job)
    parts = parts_for(extraction, "extraction")
    begun = parts_of(extraction.artefacts, [BEGIN]) if parts else []
    turn = after_turns(job)

    rule:
        """Fill the stores of a split and block of layers from one forward pass."""
        name:
            extraction.name
        input:
            lambda wildcards, step=extraction, parts=parts, turn=turn: [
                *inputs(step, parts=parts),
                *turn,
            ],
        output:
            [store.path for store in extraction.artefacts],
        log:
            f"{LOGS}/{extraction.name}.log",
        benchmark:
            f"{BENCHMARKS}/{extraction.name}.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 2
        resources:
            gpu=gpus,
            batch_size=256,
        params:
            step=job_json(plan, extraction, gathers=len(parts)),
        script:
            "../scripts/step.py"

    if not parts:
        continue

    rule:
        """Begin the stores of a split, which the parts of an extraction fill."""
        name:
            f"{extraction.name}_begin"
        input:
            lambda wildcards, step=extraction, begun=begun, turn=turn: [
                *inputs(step, begun),
                *turn,
            ],
        output:
            temp(begun[0].path),
        log:
            f"{LOGS}/{extraction.name}_begin.log",
        benchmark:
            f"{BENCHMARKS}/{extraction.name}_begin.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            step=job_json(plan, extraction, makes=begun, part=BEGIN),
        script:
            "../scripts/step.py"

    rule:
        """Fill a range of images of the stores of a split."""
        name:
            f"{extraction.name}_part"
        input:
            lambda wildcards, step=extraction, parts=parts, begun=begun: inputs(
                step, parts, begun
            ),
        output:
            temp(parts[0].path.replace(parts[0].spec["part"], "{scatteritem}")),
        log:
            f"{LOGS}/{extraction.name}_{{scatteritem}}.log",
        benchmark:
            f"{BENCHMARKS}/{extraction.name}_{{scatteritem}}.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 2
        resources:
            gpu=gpus,
            batch_size=256,
        params:
            step=lambda wildcards, step=extraction, parts=parts: part_json(
                step, parts, wildcards.scatteritem
            ),
        script:
            "../scripts/step.py"

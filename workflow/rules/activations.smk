"""Images → activations: one forward pass per split and block of layers fills its stores.

INPUTS   manifest of the data set, fingerprint of the weights
OUTPUTS  {results}/activations/{model}/{dataset}-{split}/{hook}-L{layer}-{digest}/COMPLETE.json

Split over jobs (`--set-scatter extraction=8`): one begins the stores, each part fills ranges of
images, whole shards of every store, and the last checks every byte of them and completes the stores.
"""

for job in plan.extraction_jobs():
    stores = [plan.store(key) for key in job.stores]
    parts = split(scatter.extraction, *stores)
    begun = parts_of(stores, [BEGIN]) if parts else []
    arguments = {
        "model": config["model"],
        "activations": config["activations"],
        "index": str(plan.index(job.dataset).folder),
        "root": plan.data_root(job.dataset),
        "max_pixels": config["datasets"][job.dataset]["max_pixels"],
        "split": job.split,
        "stores": [
            {
                "folder": str(store.folder),
                "hook": key.hook,
                "layer": key.layer,
                "record": store.record,
            }
            for key, store in zip(job.stores, stores)
        ],
    }

    rule:
        name:
            f"extract_{job.name}"
        input:
            needs(*stores, parts=parts) + after_turns(job),
        output:
            [store.path for store in stores],
        log:
            f"{LOGS}/extract_{job.name}.log",
        benchmark:
            f"{BENCHMARKS}/extract_{job.name}.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 2
        resources:
            gpu=gpus,
            batch_size=256,
        params:
            spec=job_spec(*stores, gathers=len(parts), **arguments),
        script:
            "../scripts/extract_activations.py"

    if not parts:
        continue

    rule:
        name:
            f"extract_{job.name}_begin"
        input:
            needs(*begun) + after_turns(job),
        output:
            temp(begun[0].path),
        log:
            f"{LOGS}/extract_{job.name}_begin.log",
        benchmark:
            f"{BENCHMARKS}/extract_{job.name}_begin.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(*begun, part=BEGIN, **arguments),
        script:
            "../scripts/extract_activations.py"

    rule:
        name:
            f"extract_{job.name}_part"
        input:
            needs(*parts, parts=begun),
        output:
            the_part(parts),
        log:
            f"{LOGS}/extract_{job.name}_{{scatteritem}}.log",
        benchmark:
            f"{BENCHMARKS}/extract_{job.name}_{{scatteritem}}.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 2
        resources:
            gpu=gpus,
            batch_size=256,
        params:
            spec=part_spec(parts, **arguments),
        script:
            "../scripts/extract_activations.py"

"""Images → activations: one forward pass per split and block of layers fills its stores.

INPUTS   manifest of the data set, fingerprint of the weights
OUTPUTS  {results}/activations/{model}/{dataset}-{split}/{hook}-L{layer}-{digest}/COMPLETE.json
"""

for job in plan.extraction_jobs():
    stores = [plan.store(key) for key in job.stores]

    rule:
        name:
            f"extract_{job.name}"
        input:
            needs(*stores) + after_turns(job),
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
            gpu=GPUS_PER_JOB,
            batch_size=256,
        params:
            spec=job_spec(
                *stores,
                model=config["model"],
                activations=config["activations"],
                index=str(plan.index(job.dataset).folder),
                root=plan.data_root(job.dataset),
                max_pixels=config["datasets"][job.dataset]["max_pixels"],
                split=job.split,
                stores=[
                    {"path": store.path, "hook": key.hook, "layer": key.layer}
                    for key, store in zip(job.stores, stores)
                ],
            ),
        script:
            "../scripts/extract_activations.py"

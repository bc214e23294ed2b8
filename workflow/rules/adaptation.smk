"""Prompts learned on few images → accuracy on base and novel classes (target `adaptation`).

Declared in src/clip_sae/analyses/adaptation/plan.py.
"""

from clip_sae.analyses.adaptation.plan import extractions


use rule step as train_adaptation with:
    """Train the prompts of one method with one seed on a few images of the base classes."""
    input:
        reads("train_adaptation"),
    output:
        makes("train_adaptation"),
    log:
        logs("train_adaptation"),
    benchmark:
        times("train_adaptation")
    resources:
        gpu=gpus,


# A loop, because one pass fills a store for each layer.
for extraction in extractions(plan):

    rule:
        """Fill the stores of one adapted model: residuals of the test images, layer by layer."""
        name:
            extraction.name
        input:
            lambda wildcards, step=extraction: inputs(step),
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
            step=job_json(plan, extraction),
        script:
            "../scripts/step.py"


use rule step as evaluate_adaptation with:
    """Answer all test images with the models of one method, one per seed."""
    input:
        reads("evaluate_adaptation"),
    output:
        makes("evaluate_adaptation"),
    log:
        logs("evaluate_adaptation"),
    benchmark:
        times("evaluate_adaptation")
    resources:
        gpu=gpus,


use rule step as summarise_adaptation with:
    """Gather accuracies of all methods on all data sets, with intervals and run by run."""
    input:
        reads("summarise_adaptation"),
    output:
        makes("summarise_adaptation"),
    log:
        logs("summarise_adaptation"),
    benchmark:
        times("summarise_adaptation")
    localrule: True

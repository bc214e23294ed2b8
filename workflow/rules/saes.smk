"""Activations → sparse autoencoders, their reconstruction and firing rates.

Declared in src/clip_sae/planning/saes.py and src/clip_sae/analyses/reconstruction/plan.py,
firing/plan.py.
"""


use rule step as train_sae with:
    """Train the SAE of a recipe at one layer."""
    input:
        reads("train_sae"),
    output:
        makes("train_sae"),
    log:
        logs("train_sae"),
    benchmark:
        times("train_sae")
    wildcard_constraints:
        recipe="|".join(plan.single_recipes) or "(?!)",
    # streamed tokens are made in a second thread, next to the training
    threads: lambda wildcards: 2 if config["saes"][wildcards.recipe]["stream"] else 1
    resources:
        gpu=gpus,
        checkpoint_every_steps=500,
        processes=1,


# A recipe with lists: one pass over the tokens trains all of its SAEs at a layer, so one job makes
# several artefacts.
for training in plan.list_trainings:

    rule:
        """Train all SAEs of a recipe with lists at one layer, in one pass over the tokens."""
        name:
            training.name
        input:
            lambda wildcards, step=training: inputs(step),
        output:
            [sae.path for sae in training.artefacts],
        log:
            f"{LOGS}/{training.name}.log",
        benchmark:
            f"{BENCHMARKS}/{training.name}.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 2 if config["saes"][training.wildcards["recipe"]]["stream"] else 1
        resources:
            gpu=gpus,
            checkpoint_every_steps=500,
            processes=1,
        params:
            step=job_json(plan, training),
        script:
            "../scripts/step.py"


use rule step as measure_reconstruction with:
    """Measure variance explained, L0 and cross-entropy of a recipe's SAEs at one layer."""
    input:
        reads("measure_reconstruction"),
    output:
        makes("measure_reconstruction"),
    log:
        logs("measure_reconstruction"),
    benchmark:
        times("measure_reconstruction")
    resources:
        gpu=gpus,


use rule step as measure_firing with:
    """Count how often each latent of every SAE fires."""
    input:
        reads("measure_firing"),
    output:
        makes("measure_firing"),
    log:
        logs("measure_firing"),
    benchmark:
        times("measure_firing")
    resources:
        gpu=gpus,

"""Prompts learned on few images → accuracy on base and novel classes (target `adaptation`).

INPUTS   manifests of the adaptation data sets, the CLIP weights, fine-tuned checkpoints
OUTPUTS  {results}/adaptation/{set}/{method}-seed{seed}-*/prompts.safetensors,
         {results}/adaptation.csv, adaptation_runs.csv, adaptation.md, adaptation.png
"""

from clip_sae.adaptation_plan import AdaptationPlan

# Files of the target `adaptation`, to which the rules of what it changes add theirs.
TARGETS["adaptation"] = []

if "adaptation" in config["analyses"]:
    adaptation = AdaptationPlan(plan)
    for method, artefact in adaptation.checkpoints.items():
        value = current_fingerprint(
            ModelSource(**adaptation.source(method)), artefact.sidecar, artefact.source
        )
        if value is not None:
            FINGERPRINTS[artefact.source] = value

        rule:
            name:
                f"fingerprint_adapted_{method}"
            input:
                needs(artefact),
            output:
                artefact.path,
            log:
                f"{LOGS}/fingerprint_adapted_{method}.log",
            benchmark:
                f"{BENCHMARKS}/fingerprint_adapted_{method}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(artefact, model=dict(artefact.spec)),
            script:
                "../scripts/fingerprint_model.py"

    for dataset, method, seed in adaptation.trainings:
        trained = adaptation.trained(dataset, method, seed)

        rule:
            name:
                f"train_adaptation_{dataset}_{method}_{seed}"
            input:
                needs(trained),
            output:
                trained.path,
            log:
                f"{LOGS}/train_adaptation_{dataset}_{method}_{seed}.log",
            benchmark:
                f"{BENCHMARKS}/train_adaptation_{dataset}_{method}_{seed}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    trained,
                    model=config["model"],
                    index=str(plan.index(dataset).folder),
                    data_root=plan.data_root(dataset),
                    **adaptation.training_spec(dataset, method, seed),
                ),
            script:
                "../scripts/train_adaptation.py"

    for dataset, method, seed in adaptation.stored:
        stores = adaptation.stores(dataset, method, seed)
        TARGETS["adaptation"] += [store.path for store in stores.values()]

        rule:
            name:
                f"extract_adapted_{dataset}_{method}_{seed}"
            input:
                needs(*stores.values()),
            output:
                [store.path for store in stores.values()],
            log:
                f"{LOGS}/extract_adapted_{dataset}_{method}_{seed}.log",
            benchmark:
                f"{BENCHMARKS}/extract_adapted_{dataset}_{method}_{seed}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 2
            resources:
                gpu=gpus,
                batch_size=256,
            params:
                spec=job_spec(
                    *stores.values(),
                    model=config["model"],
                    activations=config["activations"],
                    index=str(plan.index(dataset).folder),
                    data_root=plan.data_root(dataset),
                    split=adaptation.datasets[dataset]["test"],
                    decoding=plan.decoding(dataset),
                    method=adaptation.adapted(dataset, method),
                    seed=seed,
                    stores={str(layer): store.path for layer, store in stores.items()},
                ),
            script:
                "../scripts/extract_adapted.py"

    for dataset, methods in adaptation.answers.items():
        for method, evaluated in methods.items():

            rule:
                name:
                    f"evaluate_adaptation_{dataset}_{method}"
                input:
                    needs(evaluated),
                output:
                    with_sidecar(evaluated),
                log:
                    f"{LOGS}/evaluate_adaptation_{dataset}_{method}.log",
                benchmark:
                    f"{BENCHMARKS}/evaluate_adaptation_{dataset}_{method}.tsv"
                conda:
                    "../../envs/clip_sae.yaml"
                threads: 1
                resources:
                    gpu=gpus,
                params:
                    spec=job_spec(
                        evaluated,
                        script="evaluate_adaptation",
                        model=config["model"],
                        index=str(plan.index(dataset).folder),
                        data_root=plan.data_root(dataset),
                        split=adaptation.datasets[dataset]["test"],
                        decoding=plan.decoding(dataset),
                        method=adaptation.adapted(dataset, method),
                    ),
                script:
                    "../scripts/evaluate_adaptation.py"

    TARGETS["adaptation"] += [
        *(artefact.path for artefact in adaptation.tables.values()),
        adaptation.rendered.path,
        adaptation.figure.path,
        adaptation.drawing,
    ]

    rule summarise_adaptation:
        input:
            needs(*adaptation.tables.values()),
        output:
            [
                path
                for artefact in adaptation.tables.values()
                for path in with_sidecar(artefact)
            ],
        log:
            f"{LOGS}/summarise_adaptation.log",
        benchmark:
            f"{BENCHMARKS}/summarise_adaptation.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                *adaptation.tables.values(),
                script="summarise_adaptation",
                # lists, because the order of data sets and methods is that of the rows
                answers=[
                    [
                        dataset,
                        [[method, made.path] for method, made in methods.items()],
                    ]
                    for dataset, methods in adaptation.answers.items()
                ],
                classes={
                    dataset: f"{plan.index(dataset).folder}/classes.csv"
                    for dataset in adaptation.datasets
                },
                resamples=config["analyses"]["bootstrap_resamples"],
                seed=config["seed"],
            ),
        script:
            "../scripts/summarise_adaptation.py"

    rule render_adaptation:
        input:
            needs(adaptation.rendered),
        output:
            with_sidecar(adaptation.rendered),
        log:
            f"{LOGS}/render_adaptation.log",
        benchmark:
            f"{BENCHMARKS}/render_adaptation.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                adaptation.rendered,
                script="render_adaptation",
                csv=adaptation.tables["adaptation"].path,
                caption=adaptation.caption,
            ),
        script:
            "../scripts/render_adaptation.py"

    rule plot_adaptation:
        input:
            needs(adaptation.figure),
        output:
            with_sidecar(adaptation.figure),
            svg=adaptation.drawing,
        log:
            f"{LOGS}/plot_adaptation.log",
        benchmark:
            f"{BENCHMARKS}/plot_adaptation.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                adaptation.figure,
                script="plot_adaptation",
                resources=["style.mplstyle"],
                csv=adaptation.tables["adaptation"].path,
                runs=adaptation.tables["adaptation_runs"].path,
                caption=adaptation.caption,
            ),
        script:
            "../scripts/plot_adaptation.py"

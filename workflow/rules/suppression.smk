"""A spurious attribute taken out → Tables 1 and 5 to 8.

INPUTS   {results}/activations/**, {results}/saes/{recipes of the sets}/**
OUTPUTS  {results}/table1.csv, table5.csv … table8.csv, suppression.csv (target `all`);
         {results}/measurements/suppression/{set}/**, of the headline and of the variants
"""

from clip_sae.suppression_plan import HEADLINE, SuppressionPlan

if "suppression" in config["analyses"]:
    SUPPRESSION = config["analyses"]["suppression"]
    suppression = SuppressionPlan(plan)
    SETS = suppression.sets
    VARIANTS = suppression.variants
    CASES = [HEADLINE, *(VARIANTS["cases"] if VARIANTS else ())]
    # A case has its own contrast only where the attribute is not known from the labels.
    contrasts = {
        suppression.contrast(name, layer, case).path: (name, layer, case)
        for case in reversed(CASES)
        for name in SETS
        for layer in suppression.layers(name, case)
    }

    for name, layer, case in contrasts.values():
        contrast = suppression.contrast(name, layer, case)
        guessed = suppression.values(name, layer, case)["attribute_from"] == "prompts"
        contrast_saes = suppression.saes(name, layer, case if guessed else HEADLINE)
        last = suppression.last_layer

        rule:
            name:
                f"measure_contrast_{name}_{'guessed_' if guessed else ''}L{layer:02d}"
            input:
                needs(contrast),
            output:
                with_sidecar(contrast),
            log:
                f"{LOGS}/measure_contrast_{name}_{'guessed_' if guessed else ''}L{layer:02d}.log",
            benchmark:
                f"{BENCHMARKS}/measure_contrast_{name}_{'guessed_' if guessed else ''}L{layer:02d}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
                batch_images=32,
            params:
                spec=job_spec(
                    contrast,
                    script="measure_contrast",
                    model=config["model"],
                    index=str(plan.index(name).folder),
                    store=str(suppression.store(name, "train", layer).folder),
                    tokens_read=suppression.tokens_read(layer),
                    saes={label: sae.folder for label, sae in contrast_saes.items()},
                    **suppression.contrast_spec(
                        name, "prompts" if guessed else "labels"
                    ),
                    **(
                        {
                            "last_store": str(
                                suppression.store(name, "train", last).folder
                            ),
                            "last_tokens_read": suppression.tokens_read(last),
                        }
                        if guessed
                        else {}
                    ),
                ),
            script:
                "../scripts/measure_contrast.py"

    for case in CASES:
        for name in SETS:
            for layer in suppression.layers(name, case):
                evaluated = suppression.evaluated(name, layer, case)
                parts = split(scatter.units, evaluated)
                arguments = {
                    "script": "evaluate_suppression",
                    "folder": str(evaluated.folder),
                    "model": config["model"],
                    "dataset": name,
                    "case": case,
                    "layer": layer,
                    "index": str(plan.index(name).folder),
                    "stores": {
                        of: str(suppression.store(name, of, layer).folder)
                        for of in ("val", "test")
                    },
                    "tokens_read": suppression.tokens_read(layer),
                    "contrast_file": suppression.contrast(name, layer, case).path,
                    "saes": {
                        label: sae.folder
                        for label, sae in suppression.saes(
                            name, layer, case
                        ).items()
                    },
                    **suppression.evaluation_spec(name, layer, case),
                }

                rule:
                    name:
                        f"evaluate_suppression_{name}_{case}_L{layer:02d}"
                    input:
                        needs(evaluated, parts=parts),
                    output:
                        evaluated.path,
                    log:
                        f"{LOGS}/evaluate_suppression_{name}_{case}_L{layer:02d}.log",
                    benchmark:
                        f"{BENCHMARKS}/evaluate_suppression_{name}_{case}_L{layer:02d}.tsv"
                    # More blocks follow an early layer: the longest jobs start first.
                    priority: plan.architecture.n_layers - layer
                    conda:
                        "../../envs/clip_sae.yaml"
                    threads: 1
                    resources:
                        gpu=gpus,
                        batch_images=32,
                        batch_images_gpu=256,
                    params:
                        spec=job_spec(evaluated, **arguments),
                    script:
                        "../scripts/evaluate_suppression.py"

                if not parts:
                    continue

                rule:
                    name:
                        f"evaluate_suppression_{name}_{case}_L{layer:02d}_part"
                    input:
                        needs(*parts),
                    output:
                        the_part(parts),
                    log:
                        f"{LOGS}/evaluate_suppression_{name}_{case}_L{layer:02d}_{{scatteritem}}.log",
                    benchmark:
                        f"{BENCHMARKS}/evaluate_suppression_{name}_{case}_L{layer:02d}_{{scatteritem}}.tsv"
                    priority: plan.architecture.n_layers - layer
                    conda:
                        "../../envs/clip_sae.yaml"
                    threads: 1
                    resources:
                        gpu=gpus,
                        batch_images=32,
                        batch_images_gpu=256,
                    params:
                        spec=part_spec(parts, **arguments),
                    script:
                        "../scripts/evaluate_suppression.py"

    # --- the choice, and Tables 5 to 8 -----------------------------------------------------------
    for name, place in SETS.items():
        chosen = [suppression.summary(name), *suppression.tables(name).values()]
        TARGETS["all"] += [table.path for table in chosen[1:]]

        rule:
            name:
                f"choose_suppression_{name}"
            input:
                needs(*chosen),
            output:
                [path for table in chosen for path in with_sidecar(table)],
            log:
                f"{LOGS}/choose_suppression_{name}.log",
            benchmark:
                f"{BENCHMARKS}/choose_suppression_{name}.tsv"
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    *chosen,
                    script="choose_suppression",
                    folders=[*suppression.folders(name).values()],
                    tables=place["tables"],
                    columns=suppression.columns(name),
                    max_drop=SUPPRESSION["max_drop"],
                    **plan.interval_spec,
                ),
            script:
                "../scripts/choose_suppression.py"

    # --- Table 1, and all rows in one table ------------------------------------------------------
    TARGETS["all"] += [suppression.table1.path, suppression.rows.path]

    rule table1:
        input:
            needs(suppression.table1),
        output:
            with_sidecar(suppression.table1),
        log:
            f"{LOGS}/table1.log",
        benchmark:
            f"{BENCHMARKS}/table1.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                suppression.table1,
                script="compare_suppression",
                sets=[
                    [name, suppression.summary(name).path, suppression.columns(name)]
                    for name in SETS
                ],
            ),
        script:
            "../scripts/compare_suppression.py"

    rule gather_suppression:
        input:
            needs(suppression.rows),
        output:
            with_sidecar(suppression.rows),
        log:
            f"{LOGS}/gather_suppression.log",
        benchmark:
            f"{BENCHMARKS}/gather_suppression.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                suppression.rows,
                script="gather_suppression",
                folders=[
                    folder
                    for name in SETS
                    for folder in suppression.folders(name).values()
                ],
            ),
        script:
            "../scripts/gather_suppression.py"

"""Words written on images → Table 2: latents they turn on, prefixes, heads, all defences.

INPUTS   {results}/activations/**, {results}/saes/{recipes of the analysis}/**, the attacked copy
OUTPUTS  {results}/table2.csv, .md, .html, typographic_two_way.*, typographic_sweep.csv,
         typographic_choice.csv, typographic_units.csv, typographic_heads.csv,
         {results}/defence_prefix/**
"""

from clip_sae.typographic_plan import PREFIXES, TypographicPlan

if "typographic" in config["analyses"]:
    TYPOGRAPHIC = config["analyses"]["typographic"]
    typographic = TypographicPlan(plan)
    typographic_pairs = {
        "model": config["model"],
        "layer": typographic.layer,
        "pairs_index": str(plan.index(typographic.pairs).folder),
        "pairs_stores": {
            split: str(typographic.store(typographic.pairs, split).folder)
            for split in ("train", "val")
        },
    }
    typographic_saes = {
        label: sae.folder for label, sae in typographic.all_saes.items()
    }
    typographic_choice = {
        table: artefact.path for table, artefact in typographic.choice.items()
    }
    TARGETS["all"] += typographic_choice.values()

    for kind in typographic.kinds:
        swept = typographic.swept(kind)

        rule:
            name:
                f"sweep_typographic_{kind}"
            input:
                needs(swept),
            output:
                swept.path,
            log:
                f"{LOGS}/sweep_typographic_{kind}.log",
            benchmark:
                f"{BENCHMARKS}/sweep_typographic_{kind}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    swept,
                    script="sweep_typographic",
                    kind="latents" if typographic.saes(kind) else kind,
                    labels=[sae.label for sae in typographic.saes(kind)] or [kind],
                    saes={sae.label: sae.folder for sae in typographic.saes(kind)},
                    **typographic_pairs,
                    **typographic.sweep_spec,
                ),
            script:
                "../scripts/sweep_typographic.py"

    # {label of units: folder with their responses}
    typographic_folders = {
        label: str(typographic.swept(kind).folder)
        for kind in typographic.kinds
        for label in [sae.label for sae in typographic.saes(kind)] or [kind]
    }

    rule choose_typographic:
        input:
            needs(*typographic.choice.values()),
        output:
            [
                path
                for artefact in typographic.choice.values()
                for path in with_sidecar(artefact)
            ],
        log:
            f"{LOGS}/choose_typographic.log",
        benchmark:
            f"{BENCHMARKS}/choose_typographic.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                *typographic.choice.values(),
                script="choose_typographic",
                folders=typographic_folders,
                tables=typographic_choice,
                max_clean_cost=TYPOGRAPHIC["max_clean_cost"],
            ),
        script:
            "../scripts/choose_typographic.py"

    # --- the defences that stand beside -------------------------------------------------------------
    for name in PREFIXES:
        prefix = typographic.prefix(name)

        rule:
            name:
                f"learn_{name}"
            input:
                needs(prefix),
            output:
                prefix.path,
            log:
                f"{LOGS}/learn_{name}.log",
            benchmark:
                f"{BENCHMARKS}/learn_{name}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    prefix,
                    script="train_prefix",
                    name=name,
                    saes=typographic_saes,
                    choice=typographic_choice,
                    **typographic_pairs,
                    **typographic.prefix_spec,
                ),
            script:
                "../scripts/train_prefix.py"

    if typographic.heads:
        TARGETS["all"] += [typographic.heads.path]

        rule measure_heads:
            input:
                needs(typographic.heads),
            output:
                with_sidecar(typographic.heads),
            log:
                f"{LOGS}/measure_heads.log",
            benchmark:
                f"{BENCHMARKS}/measure_heads.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    typographic.heads,
                    script="measure_heads",
                    data_root=plan.data_root(typographic.pairs),
                    **typographic_pairs,
                    **{
                        key: typographic.heads.spec[key]
                        for key in (
                            "heads",
                            "template",
                            "max_clean_cost",
                            "decoding",
                            "seed",
                        )
                    },
                ),
            script:
                "../scripts/measure_heads.py"

    # --- every defence on every set -----------------------------------------------------------------
    for name, place in typographic.sets.items():
        evaluated = typographic.evaluated(name)

        rule:
            name:
                f"evaluate_typographic_{name}"
            input:
                needs(evaluated),
            output:
                with_sidecar(evaluated),
            log:
                f"{LOGS}/evaluate_typographic_{name}.log",
            benchmark:
                f"{BENCHMARKS}/evaluate_typographic_{name}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    evaluated,
                    script="evaluate_typographic",
                    dataset=name,
                    model=config["model"],
                    layer=typographic.layer,
                    index=str(plan.index(name).folder),
                    store=str(typographic.store(name, place["split"]).folder),
                    data_root=plan.data_root(name),
                    saes=typographic_saes,
                    choice=typographic_choice,
                    folders=typographic_folders,
                    prefixes={
                        prefix: f"{typographic.prefix(prefix).folder}/prefix.safetensors"
                        for prefix in PREFIXES
                    },
                    heads=typographic.heads.path if typographic.heads else None,
                    **typographic.evaluated_spec(name),
                ),
            script:
                "../scripts/evaluate_typographic.py"

    for protocol, gathered in typographic.tables.items():
        table = Path(gathered.path).stem
        resources = ["paper/table2.csv"] if table == "table2" else []
        paper_sets = {
            name: place["paper"]
            for name, place in typographic.sets.items()
            if place["paper"] is not None and resources
        }
        rendered = [
            plan.measured(
                f"{table}.{suffix}",
                "render_typographic",
                upstream=[gathered, typographic.choice["choice"]],
                resources=resources,
                spec={"model": config["model"]["name"], "paper_sets": paper_sets},
            )
            for suffix in ("md", "html")
        ]
        TARGETS["all"] += [gathered.path, *(artefact.path for artefact in rendered)]

        rule:
            name:
                table
            input:
                needs(gathered),
            output:
                with_sidecar(gathered),
            log:
                f"{LOGS}/{table}.log",
            benchmark:
                f"{BENCHMARKS}/{table}.tsv"
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    gathered,
                    script="gather_typographic",
                    rows=[
                        typographic.evaluated(name).path for name in typographic.sets
                    ],
                    protocol=protocol,
                ),
            script:
                "../scripts/gather_typographic.py"

        rule:
            name:
                f"render_{table}"
            input:
                needs(*rendered),
            output:
                [path for artefact in rendered for path in with_sidecar(artefact)],
            log:
                f"{LOGS}/render_{table}.log",
            benchmark:
                f"{BENCHMARKS}/render_{table}.tsv"
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    *rendered,
                    script="render_typographic",
                    resources=resources,
                    protocol=protocol,
                    csv=gathered.path,
                    choice=typographic.choice["choice"].path,
                    model=config["model"]["name"],
                    paper_sets=paper_sets,
                    paper=(
                        str(ROOT / "workflow/resources/paper/table2.csv")
                        if resources
                        else None
                    ),
                ),
            script:
                "../scripts/render_typographic.py"

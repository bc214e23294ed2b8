"""Beside the sets of latents: text-side baselines, other prompts, variants; and all as Markdown.

INPUTS   {results}/measurements/suppression/**, {results}/activations/**
OUTPUTS  {results}/suppression_text.*, suppression_prompts.*, table1.md, table5.md … table8.md and
         their .html (target `all`); {results}/suppression_variants.*, suppression_cases.csv (target
         `extended`)
"""

from clip_sae.suppression_tables_plan import SuppressionTables

if "suppression" in config["analyses"]:
    beyond = SuppressionTables(suppression)
    rendered_tables = {"all": beyond.all_tables}

    if beyond.with_background:
        TARGETS["all"] += [beyond.text_side.path]

        rule measure_text_side:
            input:
                needs(beyond.text_side),
            output:
                with_sidecar(beyond.text_side),
            log:
                f"{LOGS}/measure_text_side.log",
            benchmark:
                f"{BENCHMARKS}/measure_text_side.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    beyond.text_side,
                    script="measure_text_side",
                    model=config["model"],
                    sets=beyond.text_arguments,
                    **plan.interval_spec,
                ),
            script:
                "../scripts/measure_text_side.py"

    if beyond.with_sweep:
        TARGETS["all"] += [beyond.prompts.path]

        rule measure_prompts:
            input:
                needs(beyond.prompts),
            output:
                with_sidecar(beyond.prompts),
            log:
                f"{LOGS}/measure_prompts.log",
            benchmark:
                f"{BENCHMARKS}/measure_prompts.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    beyond.prompts,
                    script="measure_prompts",
                    model=config["model"],
                    sets=beyond.prompt_arguments,
                    **plan.interval_spec,
                ),
            script:
                "../scripts/measure_prompts.py"

    if beyond.variants:
        TARGETS["extended"] += [beyond.variant_table.path]
        rendered_tables["extended"] = {"suppression_variants": beyond.variant_table}

        rule measure_variants:
            input:
                needs(beyond.variant_table),
            output:
                with_sidecar(beyond.variant_table),
            log:
                f"{LOGS}/measure_variants.log",
            benchmark:
                f"{BENCHMARKS}/measure_variants.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    beyond.variant_table,
                    script="measure_variants",
                    model=config["model"],
                    sets=beyond.variant_arguments,
                    max_drop=SUPPRESSION["max_drop"],
                    layers=beyond.variants["layers"],
                    several_layers=beyond.variants["several_layers"],
                    **plan.interval_spec,
                ),
            script:
                "../scripts/measure_variants.py"

    if beyond.variants and beyond.variants["cases"]:
        TARGETS["extended"] += [beyond.case_rows.path]

        rule gather_suppression_cases:
            input:
                needs(beyond.case_rows),
            output:
                with_sidecar(beyond.case_rows),
            log:
                f"{LOGS}/gather_suppression_cases.log",
            benchmark:
                f"{BENCHMARKS}/gather_suppression_cases.tsv"
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    beyond.case_rows,
                    script="gather_suppression",
                    folders=[
                        folder
                        for name in SETS
                        for case in beyond.cases[1:]
                        for folder in suppression.folders(name, case).values()
                    ],
                ),
            script:
                "../scripts/gather_suppression.py"

    # --- Markdown and HTML -----------------------------------------------------------------------
    for target, tables in rendered_tables.items():
        rendered = beyond.rendered(tables)
        papers = beyond.papers(tables)
        TARGETS[target] += [artefact.path for artefact in rendered]

        rule:
            name:
                f"render_suppression_{target}"
            input:
                needs(*rendered),
            output:
                [path for artefact in rendered for path in with_sidecar(artefact)],
            log:
                f"{LOGS}/render_suppression_{target}.log",
            benchmark:
                f"{BENCHMARKS}/render_suppression_{target}.tsv"
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    *rendered,
                    script="render_suppression",
                    resources=papers,
                    tables={name: table.path for name, table in tables.items()},
                    paper={
                        Path(paper).stem: str(ROOT / "workflow/resources" / paper)
                        for paper in papers
                    },
                    **beyond.render_spec,
                ),
            script:
                "../scripts/render_suppression.py"

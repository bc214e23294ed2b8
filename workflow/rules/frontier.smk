"""The frontier: explained variance and recovered cross-entropy against L0, every architecture.

INPUTS   {results}/activations/**, {results}/saes/{recipes of the frontier}/**
OUTPUTS  {results}/frontier.csv, frontier.png, frontier.md (target `extended`)
"""

if "frontier" in config["analyses"]:
    FRONTIER = config["analyses"]["frontier"]

    for name in FRONTIER["recipes"]:
        [layer] = plan.layers(name)
        hook = config["saes"][name]["hook"]
        measured = plan.frontier(name)

        rule:
            name:
                f"measure_frontier_{name}"
            input:
                needs(measured),
            output:
                with_sidecar(measured),
            log:
                f"{LOGS}/measure_frontier_{name}.log",
            benchmark:
                f"{BENCHMARKS}/measure_frontier_{name}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    measured,
                    script="measure_frontier",
                    model=config["model"],
                    index=str(plan.index(FRONTIER["dataset"]).folder),
                    stores={
                        h: str(store.folder)
                        for h, store in plan.frontier_stores(hook, layer).items()
                    },
                    hook=hook,
                    layer=layer,
                    recipe=name,
                    saes={
                        sae.variant: {
                            "folder": sae.folder,
                            "architecture": sae.recipe.architecture,
                            "decoder_norm": sae.recipe.decoder_norm,
                            "knob": sae.recipe.sparsity_knob,
                            "knob_value": getattr(
                                sae.recipe, sae.recipe.sparsity_knob
                            ),
                            "seed": sae.recipe.seed,
                        }
                        for sae in plan.saes(name, layer)
                    },
                    templates=config["zeroshot"]["templates"],
                    resamples=config["analyses"]["bootstrap_resamples"],
                    seed=config["seed"],
                ),
            script:
                "../scripts/measure_frontier.py"

    frontier_rows = [plan.frontier(name) for name in FRONTIER["recipes"]]
    frontier = plan.measured("frontier.csv", "gather_rows", upstream=frontier_rows)
    frontier_figure = plan.measured(
        "frontier.png",
        "plot_frontier",
        upstream=[frontier],
        resources=["style.mplstyle"],
    )
    frontier_table = plan.measured(
        "frontier.md",
        "render_frontier",
        upstream=[frontier],
        spec={"model": config["model"]["name"], "levels": FRONTIER["levels"]},
    )
    TARGETS["extended"] += [
        frontier.path,
        frontier_figure.path,
        f"{RESULTS}/frontier.svg",
        frontier_table.path,
    ]

    rule frontier:
        input:
            needs(frontier),
        output:
            with_sidecar(frontier),
        log:
            f"{LOGS}/frontier.log",
        benchmark:
            f"{BENCHMARKS}/frontier.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                frontier,
                script="gather_rows",
                rows=[row.path for row in frontier_rows],
            ),
        script:
            "../scripts/gather_rows.py"

    rule plot_frontier:
        input:
            needs(frontier_figure),
        output:
            with_sidecar(frontier_figure),
            svg=f"{RESULTS}/frontier.svg",
        log:
            f"{LOGS}/plot_frontier.log",
        benchmark:
            f"{BENCHMARKS}/plot_frontier.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                frontier_figure,
                script="plot_frontier",
                resources=["style.mplstyle"],
                csv=frontier.path,
            ),
        script:
            "../scripts/plot_frontier.py"

    rule render_frontier:
        input:
            needs(frontier_table),
        output:
            with_sidecar(frontier_table),
        log:
            f"{LOGS}/render_frontier.log",
        benchmark:
            f"{BENCHMARKS}/render_frontier.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                frontier_table,
                script="render_frontier",
                csv=frontier.path,
                model=config["model"]["name"],
                levels=FRONTIER["levels"],
            ),
        script:
            "../scripts/render_frontier.py"

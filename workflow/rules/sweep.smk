"""The lr × l1 sweep: explained variance, L0 and alive latents over a grid, and the chosen point.

INPUTS   {results}/activations/**, {results}/saes/{sweep recipe}/**
OUTPUTS  {results}/sweep.csv, {results}/sweep.png (target `extended`)
"""

if "sweep" in config["analyses"]:
    SWEEP = config["analyses"]["sweep"]
    sweep_hook = config["saes"][SWEEP["recipe"]]["hook"]
    sweep_saes = plan.all_saes(SWEEP["recipe"])
    sweep_stores = {
        layer: plan.store(StoreKey(SWEEP["dataset"], SWEEP["split"], sweep_hook, layer))
        for layer in plan.layers(SWEEP["recipe"])
    }
    sweep = plan.measured(
        "sweep.csv",
        "measure_sweep",
        upstream=[*sweep_stores.values(), *(sae.artefact for sae in sweep_saes)],
        spec={"max_l0": SWEEP["max_l0"]},
    )
    sweep_figure = plan.measured(
        "sweep.png", "plot_sweep", upstream=[sweep], resources=["style.mplstyle"]
    )
    TARGETS["extended"] += [sweep.path, sweep_figure.path, f"{RESULTS}/sweep.svg"]

    rule measure_sweep:
        input:
            needs(sweep),
        output:
            with_sidecar(sweep),
        log:
            f"{LOGS}/measure_sweep.log",
        benchmark:
            f"{BENCHMARKS}/measure_sweep.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 1
        resources:
            gpu=gpus,
        params:
            spec=job_spec(
                sweep,
                script="measure_sweep",
                max_l0=SWEEP["max_l0"],
                saes=[
                    {
                        "variant": sae.variant,
                        "layer": sae.layer,
                        "lr": sae.recipe.lr,
                        "l1_coefficient": sae.recipe.l1_coefficient,
                        "folder": sae.folder,
                        "store": str(sweep_stores[sae.layer].folder),
                    }
                    for sae in sweep_saes
                ],
            ),
        script:
            "../scripts/measure_sweep.py"

    rule plot_sweep:
        input:
            needs(sweep_figure),
        output:
            with_sidecar(sweep_figure),
            svg=f"{RESULTS}/sweep.svg",
        log:
            f"{LOGS}/plot_sweep.log",
        benchmark:
            f"{BENCHMARKS}/plot_sweep.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                sweep_figure,
                script="plot_sweep",
                resources=["style.mplstyle"],
                csv=sweep.path,
            ),
        script:
            "../scripts/plot_sweep.py"

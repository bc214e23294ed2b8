"""L0 per token position → Figs 4 and 8.

INPUTS   {results}/activations/**, {results}/saes/{recipe}/**
OUTPUTS  {results}/fig4.*, fig8.*, token_norms.*, l0_image.*, l0_tokens.csv, l0_layers.csv
"""

L0 = config["analyses"]["l0"]
L0_LAYERS = plan.layers(L0["recipe"])
L0_HOOK = config["saes"][L0["recipe"]]["hook"]
MAP_LAYER = (
    L0_LAYERS[len(L0_LAYERS) // 2] if L0["map_layer"] is None else L0["map_layer"]
)

# A recipe with lists has several SAEs per layer; the maps are of the first.
l0_saes = [plan.saes(L0["recipe"], layer)[0] for layer in L0_LAYERS]
l0_stores = [
    plan.store(StoreKey(L0["dataset"], L0["split"], L0_HOOK, layer))
    for layer in L0_LAYERS
]
l0_spec = {
    "resamples": config["analyses"]["bootstrap_resamples"],
    "seed": config["seed"],
    "single_image": L0["single_image"],
}
L0_TABLES = ("tokens", "layers", "image")
l0_tables = {
    table: plan.measured(
        f"l0_{table}.csv",
        "measure_l0",
        upstream=[*l0_stores, *(sae.artefact for sae in l0_saes)],
        spec=l0_spec,
        resources=["gpt2_l0.csv"],
    )
    for table in L0_TABLES
}


rule measure_l0:
    input:
        needs(*l0_tables.values()),
    output:
        [path for table in L0_TABLES for path in with_sidecar(l0_tables[table])],
    log:
        f"{LOGS}/measure_l0.log",
    benchmark:
        f"{BENCHMARKS}/measure_l0.tsv"
    conda:
        "../../envs/clip_sae.yaml"
    threads: 1
    resources:
        gpu=gpus,
    params:
        spec=job_spec(
            *l0_tables.values(),
            script="measure_l0",
            resources=["gpt2_l0.csv"],
            saes={str(sae.layer): sae.folder for sae in l0_saes},
            stores={
                str(sae.layer): str(s.folder) for sae, s in zip(l0_saes, l0_stores)
            },
            tables={table: artefact.path for table, artefact in l0_tables.items()},
            gpt2=str(ROOT / "workflow/resources/gpt2_l0.csv"),
            index=str(plan.index(L0["dataset"]).folder),
            split=L0["split"],
            **l0_spec,
        ),
    script:
        "../scripts/measure_l0.py"


# What each figure needs beyond the tables; the last shows a picture of the data set.
L0_FIGURES = {
    "fig4": {"map_layer": MAP_LAYER},
    "fig8": {},
    "token_norms": {},
    "l0_image": plan.pixels(L0["dataset"]),
}

for figure, arguments in L0_FIGURES.items():
    drawn = plan.measured(
        f"{figure}.png",
        "plot_l0",
        upstream=[*l0_tables.values(), plan.index(L0["dataset"])],
        spec={"figure": figure}
        | ({"map_layer": MAP_LAYER} if figure == "fig4" else {}),
        resources=["style.mplstyle"],
    )
    TARGETS["all"] += [drawn.path, f"{RESULTS}/{figure}.svg"]

    rule:
        name:
            figure if figure.startswith("fig") else f"plot_{figure}"
        input:
            needs(drawn),
        output:
            with_sidecar(drawn),
            svg=f"{RESULTS}/{figure}.svg",
        log:
            f"{LOGS}/{figure}.log",
        benchmark:
            f"{BENCHMARKS}/{figure}.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                drawn,
                script="plot_l0",
                figure=figure,
                resources=["style.mplstyle"],
                tables={table: artefact.path for table, artefact in l0_tables.items()},
                **arguments,
            ),
        script:
            "../scripts/plot_l0.py"


TARGETS["all"] += [artefact.path for artefact in l0_tables.values()]

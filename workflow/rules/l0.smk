"""L0 per token position → Figs 4 and 8.

INPUTS   {results}/activations/**, {results}/saes/{recipe}/**
OUTPUTS  {results}/fig4.*, fig8.*, l0_tokens.csv, l0_layers.csv, l0_image.csv
"""

L0 = config["analyses"]["l0"]
L0_LAYERS = plan.layers(L0["recipe"])
L0_HOOK = config["saes"][L0["recipe"]]["hook"]
MAP_LAYER = L0_LAYERS[len(L0_LAYERS) // 2] if L0["map_layer"] is None else L0["map_layer"]

# A recipe with lists has several SAEs per layer; the maps are of the first.
l0_saes = [plan.saes(L0["recipe"], layer)[0] for layer in L0_LAYERS]
l0_stores = [
    plan.store(StoreKey(L0["dataset"], L0["split"], L0_HOOK, layer)) for layer in L0_LAYERS
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
        paths_of(l0_tables["tokens"].upstream),
        out_of_date(*l0_tables.values()),
    output:
        [path for table in L0_TABLES for path in with_sidecar(l0_tables[table])],
    params:
        spec=job_spec(
            *l0_tables.values(),
            script="measure_l0",
            resources=["gpt2_l0.csv"],
            saes={str(sae.layer): sae.folder for sae in l0_saes},
            stores={str(sae.layer): str(s.folder) for sae, s in zip(l0_saes, l0_stores)},
            tables={table: artefact.path for table, artefact in l0_tables.items()},
            gpt2=str(ROOT / "workflow/resources/gpt2_l0.csv"),
            index=str(plan.index(L0["dataset"]).folder),
            split=L0["split"],
            **l0_spec,
        ),
    log:
        f"{LOGS}/measure_l0.log",
    benchmark:
        f"{BENCHMARKS}/measure_l0.tsv"
    threads: 1
    resources:
        gpu=1,
    conda:
        "../../envs/clip_sae.yaml"
    script:
        "../scripts/measure_l0.py"


for figure in ("fig4", "fig8"):
    drawn = plan.measured(
        f"{figure}.png",
        f"plot_{figure}",
        upstream=list(l0_tables.values()),
        spec={"map_layer": MAP_LAYER},
        resources=["style.mplstyle", "gpt2_l0.csv"],
    )
    TARGETS["all"] += [drawn.path, f"{RESULTS}/{figure}.svg"]

    rule:
        name:
            figure
        input:
            paths_of(l0_tables.values()),
            out_of_date(drawn),
        output:
            with_sidecar(drawn),
            svg=f"{RESULTS}/{figure}.svg",
        params:
            spec=job_spec(
                drawn,
                script=f"plot_{figure}",
                resources=["style.mplstyle", "gpt2_l0.csv"],
                tables={table: artefact.path for table, artefact in l0_tables.items()},
                map_layer=MAP_LAYER,
                recipe=L0["recipe"],
                model=config["model"]["name"],
            ),
        log:
            f"{LOGS}/{figure}.log",
        benchmark:
            f"{BENCHMARKS}/{figure}.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        script:
            f"../scripts/plot_{figure}.py"


TARGETS["all"] += [artefact.path for artefact in l0_tables.values()]

"""Activations → sparse autoencoders → Tables 3 and 4, firing rates, training curves.

INPUTS   {results}/activations/**/COMPLETE.json; with `stream: true` the manifest and the fingerprint
         of the weights instead, for the training alone
OUTPUTS  {results}/saes/{recipe}/L{layer}/{variant}-{digest}/ (a SAELens folder each),
         {results}/table3.*, table4.*, firing.*, training_curves.*
"""

EVALUATION = config["analyses"]["reconstruction"]
TABLES = {"table3": EVALUATION["table3"], "table4": EVALUATION["table4"]}
# Recipes of `rule all`: all but those of the sweep and the frontier, whose many SAEs belong to
# `extended`, unless a table or a figure of `all` names them too.
IN_EXTENDED = {
    config["analyses"].get("sweep", {}).get("recipe"),
    *config["analyses"].get("frontier", {}).get("recipes", []),
}
IN_ALL = {
    *TABLES["table3"],
    *TABLES["table4"],
    config["analyses"]["l0"]["recipe"],
    config["analyses"].get("steering", {}).get("recipe"),
}
RECIPES = [name for name in config["saes"] if name not in IN_EXTENDED - IN_ALL]


for name, block in config["saes"].items():
    for layer in plan.layers(name):
        saes = plan.saes(name, layer)

        rule:
            name:
                f"train_{name}_L{layer:02d}"
            input:
                needs(*(sae.artefact for sae in saes)),
            output:
                [sae.artefact.path for sae in saes],
            log:
                f"{LOGS}/train_{name}_L{layer:02d}.log",
            benchmark:
                f"{BENCHMARKS}/train_{name}_L{layer:02d}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            # streamed tokens are made beside the training, which has as many threads as without
            threads: 2 if block["stream"] else 1
            resources:
                gpu=gpus,
                checkpoint_every_steps=500,
                processes=1,
            params:
                spec=job_spec(
                    *(sae.artefact for sae in saes),
                    hook=block["hook"],
                    layer=layer,
                    **plan.training_tokens(name, layer),
                    saes={
                        sae.variant: {
                            "path": sae.artefact.path,
                            "recipe": sae.recipe.to_dict(),
                        }
                        for sae in saes
                    },
                    model=config["model"]["name"],
                ),
            script:
                "../scripts/train_saes.py"


for name in dict.fromkeys(n for names in TABLES.values() for n in names):
    hook = config["saes"][name]["hook"]
    for layer in plan.layers(name):
        measured = plan.reconstruction(name, layer)

        rule:
            name:
                f"measure_reconstruction_{name}_L{layer:02d}"
            input:
                needs(measured),
            output:
                with_sidecar(measured),
            log:
                f"{LOGS}/measure_reconstruction_{name}_L{layer:02d}.log",
            benchmark:
                f"{BENCHMARKS}/measure_reconstruction_{name}_L{layer:02d}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
            params:
                spec=job_spec(
                    measured,
                    script="measure_reconstruction",
                    model=config["model"],
                    index=str(plan.index(EVALUATION["dataset"]).folder),
                    stores={
                        h: str(store.folder)
                        for h, store in plan.evaluation_stores(hook, layer).items()
                    },
                    hook=hook,
                    layer=layer,
                    recipe=name,
                    saes={sae.variant: sae.folder for sae in plan.saes(name, layer)},
                    sparsity={
                        sae.variant: {
                            "l1_coefficient": sae.recipe.l1_coefficient,
                            "k": sae.recipe.k,
                        }
                        for sae in plan.saes(name, layer)
                    },
                    templates=config["zeroshot"]["templates"],
                    resamples=config["analyses"]["bootstrap_resamples"],
                    seed=config["seed"],
                ),
            script:
                "../scripts/measure_reconstruction.py"


for table, names in TABLES.items():
    if not names:
        continue
    rows = [
        plan.reconstruction(name, layer)
        for name in names
        for layer in plan.layers(name)
    ]
    gathered = plan.measured(f"{table}.csv", "gather_rows", upstream=rows)
    rendered = [
        plan.measured(
            f"{table}.{suffix}",
            "render_table",
            upstream=[gathered],
            resources=[f"paper/{table}.csv"],
            spec={
                "model": config["model"]["name"],
                "templates": config["zeroshot"]["templates"],
            },
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
                gathered, script="gather_rows", rows=[row.path for row in rows]
            ),
        script:
            "../scripts/gather_rows.py"

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
                script="render_table",
                resources=[f"paper/{table}.csv"],
                table=table,
                csv=gathered.path,
                paper=str(ROOT / f"workflow/resources/paper/{table}.csv"),
                model=config["model"]["name"],
                templates=config["zeroshot"]["templates"],
            ),
        script:
            "../scripts/render_table.py"


# --- firing rates: dead, alive and dense latents of every recipe ---------------------------------

firing_saes = [sae for name in RECIPES for sae in plan.all_saes(name)]
firing_stores = {
    (sae.hook, sae.layer): plan.evaluation_stores(sae.hook, sae.layer)[sae.hook]
    for sae in firing_saes
}
firing = plan.measured(
    "firing.csv",
    "measure_firing",
    upstream=[*firing_stores.values(), *(sae.artefact for sae in firing_saes)],
)
firing_figure = plan.measured(
    "firing.png", "plot_firing", upstream=[firing], resources=["style.mplstyle"]
)
TARGETS["all"] += [firing.path, firing_figure.path, f"{RESULTS}/firing.svg"]


rule measure_firing:
    input:
        needs(firing),
    output:
        with_sidecar(firing),
    log:
        f"{LOGS}/measure_firing.log",
    benchmark:
        f"{BENCHMARKS}/measure_firing.tsv"
    conda:
        "../../envs/clip_sae.yaml"
    threads: 1
    resources:
        gpu=gpus,
    params:
        spec=job_spec(
            firing,
            script="measure_firing",
            saes=[
                {
                    "recipe": sae.label,
                    "variant": sae.variant,
                    "layer": sae.layer,
                    "hook": sae.hook,
                    "folder": sae.folder,
                    "store": str(firing_stores[sae.hook, sae.layer].folder),
                }
                for sae in firing_saes
            ],
        ),
    script:
        "../scripts/measure_firing.py"


rule plot_firing:
    input:
        needs(firing_figure),
    output:
        with_sidecar(firing_figure),
        svg=f"{RESULTS}/firing.svg",
    log:
        f"{LOGS}/plot_firing.log",
    benchmark:
        f"{BENCHMARKS}/plot_firing.tsv"
    localrule: True
    conda:
        "../../envs/clip_sae.yaml"
    params:
        spec=job_spec(
            firing_figure,
            script="plot_firing",
            resources=["style.mplstyle"],
            csv=firing.path,
        ),
    script:
        "../scripts/plot_firing.py"


# --- training curves -----------------------------------------------------------------------------

curves = plan.measured(
    "training_curves.csv",
    "gather_curves",
    upstream=[sae.artefact for sae in firing_saes],
)
curves_figure = plan.measured(
    "training_curves.png",
    "plot_curves",
    upstream=[curves],
    resources=["style.mplstyle"],
)
TARGETS["all"] += [curves.path, curves_figure.path, f"{RESULTS}/training_curves.svg"]


rule gather_curves:
    input:
        needs(curves),
    output:
        with_sidecar(curves),
    log:
        f"{LOGS}/gather_curves.log",
    benchmark:
        f"{BENCHMARKS}/gather_curves.tsv"
    localrule: True
    conda:
        "../../envs/clip_sae.yaml"
    params:
        spec=job_spec(
            curves,
            script="gather_curves",
            saes=[
                {
                    "recipe": sae.label,
                    "variant": sae.variant,
                    "layer": sae.layer,
                    "hook": sae.hook,
                    "folder": sae.folder,
                }
                for sae in firing_saes
            ],
        ),
    script:
        "../scripts/gather_curves.py"


rule plot_curves:
    input:
        needs(curves_figure),
    output:
        with_sidecar(curves_figure),
        svg=f"{RESULTS}/training_curves.svg",
    log:
        f"{LOGS}/plot_curves.log",
    benchmark:
        f"{BENCHMARKS}/plot_curves.tsv"
    localrule: True
    conda:
        "../../envs/clip_sae.yaml"
    params:
        spec=job_spec(
            curves_figure,
            script="plot_curves",
            resources=["style.mplstyle"],
            csv=curves.path,
        ),
    script:
        "../scripts/plot_curves.py"

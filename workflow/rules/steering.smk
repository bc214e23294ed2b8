"""Steerability of every unit of every layer → the tables of Figs 5, 6, 7 and 9.

INPUTS   {results}/activations/**, {results}/saes/{steered recipe}/**, the vocabulary
OUTPUTS  {results}/steerability_units.csv.gz, steerability_layers.csv, steerability_grid.csv.gz,
         steerability_rarefaction.csv, steering_traces.csv (target `all`);
         {results}/steerability_baselines_*.csv* (target `extended`)
"""

from clip_sae.steering_plan import SteeringPlan

if "steering" in config["analyses"]:
    STEERING = config["analyses"]["steering"]
    steering = SteeringPlan(plan)
    # Steered images (one unit on one image each) in one forward pass, and units measured at once.
    STEERING_BATCHES = {
        "sequences_per_batch": 128,
        "sequences_per_batch_gpu": 1024,
        "units_per_batch": 16,
    }

    rule embed_vocabulary:
        input:
            needs(steering.vocabulary),
        output:
            with_sidecar(steering.vocabulary),
        log:
            f"{LOGS}/embed_vocabulary.log",
        benchmark:
            f"{BENCHMARKS}/embed_vocabulary.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 1
        resources:
            gpu=gpus,
        params:
            spec=job_spec(
                steering.vocabulary,
                script="embed_vocabulary",
                model=config["model"],
                sha256=STEERING["vocabulary"]["sha256"],
                **steering.vocabulary_spec,
            ),
        script:
            "../scripts/embed_vocabulary.py"

    # --- one job for each kind of unit and layer ----------------------------------------------------
    for kind in [*steering.kinds, *STEERING["baselines"]]:
        for layer in steering.layers:
            measured = steering.measured(kind, layer)
            parts = split(scatter.units, measured)
            arguments = {
                "script": "measure_steering",
                "label": steering.label(kind, layer),
                "folder": str(measured.folder),
                **steering.arguments(layer),
                **steering.spec(kind, layer),
            }

            rule:
                name:
                    f"measure_steering_{kind}_L{layer:02d}"
                input:
                    needs(measured, parts=parts),
                output:
                    measured.path,
                log:
                    f"{LOGS}/measure_steering_{kind}_L{layer:02d}.log",
                benchmark:
                    f"{BENCHMARKS}/measure_steering_{kind}_L{layer:02d}.tsv"
                # More blocks follow an early layer: the longest jobs start first.
                priority: plan.architecture.n_layers - layer
                conda:
                    "../../envs/clip_sae.yaml"
                threads: 1
                resources:
                    **STEERING_BATCHES,
                    gpu=gpus,
                params:
                    spec=job_spec(measured, **arguments),
                script:
                    "../scripts/measure_steering.py"

            if not parts:
                continue

            rule:
                name:
                    f"measure_steering_{kind}_L{layer:02d}_part"
                input:
                    needs(*parts),
                output:
                    the_part(parts),
                log:
                    f"{LOGS}/measure_steering_{kind}_L{layer:02d}_{{scatteritem}}.log",
                benchmark:
                    f"{BENCHMARKS}/measure_steering_{kind}_L{layer:02d}_{{scatteritem}}.tsv"
                priority: plan.architecture.n_layers - layer
                conda:
                    "../../envs/clip_sae.yaml"
                threads: 1
                resources:
                    **STEERING_BATCHES,
                    gpu=gpus,
                params:
                    spec=part_spec(parts, **arguments),
                script:
                    "../scripts/measure_steering.py"

    # --- the tables of all layers, and words per unit -----------------------------------------------
    steering_files = {"units": "units.csv.gz", "layers": "layers.csv"}
    steering_tables = steering.tables(
        "steerability", steering.kinds, steering_files | {"grid": "grid.csv.gz"}
    )
    steering_tables["traces"] = steering.traces
    steering_baselines = {}
    if STEERING["baselines"]:
        steering_baselines = steering.tables(
            "steerability_baselines",
            [*steering.kinds, *STEERING["baselines"]],
            steering_files,
        )
    TARGETS["all"] += [table.path for table in steering_tables.values()]
    TARGETS["extended"] += [table.path for table in steering_baselines.values()]
    for name, tables, kinds in (
        ("steerability", steering_tables, steering.kinds),
        (
            "steerability_baselines",
            steering_baselines,
            [*steering.kinds, *STEERING["baselines"]],
        ),
    ):
        if not tables:
            continue
        gathered = {
            part: tables[table]
            for part, table in (
                ("units", "units"),
                ("layer", "layers"),
                ("grid", "grid"),
            )
            if table in tables
        }

        rule:
            name:
                name
            input:
                needs(*gathered.values()),
            output:
                [path for table in gathered.values() for path in with_sidecar(table)],
            log:
                f"{LOGS}/{name}.log",
            benchmark:
                f"{BENCHMARKS}/{name}.tsv"
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    *gathered.values(),
                    script="gather_steering",
                    tables={part: table.path for part, table in gathered.items()},
                    folders=[
                        str(steering.measured(kind, layer).folder)
                        for kind in kinds
                        for layer in steering.layers
                    ],
                ),
            script:
                "../scripts/gather_steering.py"

        rule:
            name:
                f"{name}_rarefaction"
            input:
                needs(tables["rarefaction"]),
            output:
                with_sidecar(tables["rarefaction"]),
            log:
                f"{LOGS}/{name}_rarefaction.log",
            benchmark:
                f"{BENCHMARKS}/{name}_rarefaction.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    tables["rarefaction"],
                    script="measure_rarefaction",
                    units=tables["units"].path,
                    strength=str(float(STEERING["strength"])),
                    gamma=STEERING["gamma"],
                    seed=config["seed"],
                ),
            script:
                "../scripts/measure_rarefaction.py"

    # --- a few latents along the strength -----------------------------------------------------------
    rule steering_traces:
        input:
            needs(steering.traces),
        output:
            with_sidecar(steering.traces),
        log:
            f"{LOGS}/steering_traces.log",
        benchmark:
            f"{BENCHMARKS}/steering_traces.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 1
        resources:
            **STEERING_BATCHES,
            gpu=gpus,
        params:
            spec=job_spec(
                steering.traces,
                script="measure_traces",
                measured=str(steering.measured("latent", steering.trace_layer).folder),
                **steering.arguments(steering.trace_layer),
                **steering.trace_spec,
            ),
        script:
            "../scripts/measure_traces.py"

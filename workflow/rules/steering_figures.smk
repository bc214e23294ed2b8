"""Steerability, drawn → Figs 5, 6, 7 and 9, the layer table, the baselines.

INPUTS   {results}/steerability_*.csv*, {results}/steering_traces.csv
OUTPUTS  {results}/fig5.*, fig6.*, fig7.*, fig9.*, steerability_dispersion.*,
         steerability_histogram.csv, steerability_layers.md, .html;
         {results}/steerability_baselines.*, steerability_baselines_histogram.csv (`extended`)
"""

from clip_sae.specs import file_sha256

if "steering" in config["analyses"]:
    PAPER_STEERING = str(ROOT / "workflow/resources/paper/steering.csv")
    MASK = STEERING["vocabulary"]["mask"]
    # The words of the mask are content of the figures, wherever the file lies. A file that is not
    # there is told by the job.
    mask_digest = file_sha256(Path(MASK)) if MASK and Path(MASK).is_file() else None
    steering_levels = {"strength": STEERING["strength"], "gamma": STEERING["gamma"]}
    words = STEERING["vocabulary"]["words"]

    # --- counts by steerability, the table of the histograms --------------------------------------

    steering_sets = {"steerability": ("all", steering_tables)}
    if steering_baselines:
        steering_sets["steerability_baselines"] = ("extended", steering_baselines)
    histograms = {}

    for name, (target, tables) in steering_sets.items():
        histograms[name] = counts = plan.measured(
            f"{name}_histogram.csv", "count_steerability", upstream=[tables["units"]]
        )
        TARGETS[target].append(counts.path)

        rule:
            name:
                f"{name}_histogram"
            input:
                needs(counts),
            output:
                with_sidecar(counts),
            log:
                f"{LOGS}/{name}_histogram.log",
            benchmark:
                f"{BENCHMARKS}/{name}_histogram.tsv"
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    counts, script="count_steerability", units=tables["units"].path
                ),
            script:
                "../scripts/count_steerability.py"

    # --- figures -----------------------------------------------------------------------------------
    # figure → the tables that it draws
    steering_figures = {
        "fig5": {"traces": steering_tables["traces"]},
        "fig6": {
            "histogram": histograms["steerability"],
            "layers": steering_tables["layers"],
        },
        "fig7": {
            "layers": steering_tables["layers"],
            "rarefaction": steering_tables["rarefaction"],
        },
        "fig9": {"traces": steering_tables["traces"]},
        "steerability_dispersion": {
            "units": steering_tables["units"],
            "layers": steering_tables["layers"],
        },
    }
    if steering_baselines:
        steering_figures["steerability_baselines"] = {
            "histogram": histograms["steerability_baselines"],
            "layers": steering_baselines["layers"],
            "rarefaction": steering_baselines["rarefaction"],
        }
    for figure, tables in steering_figures.items():
        with_words = "traces" in tables
        used = ["style.mplstyle"]
        used += ["paper/steering.csv"] if figure in ("fig6", "fig7") else []
        drawn = plan.measured(
            f"{figure}.png",
            "plot_steering",
            upstream=tables.values(),
            spec={"figure": figure}
            | steering_levels
            | ({"mask": mask_digest} if with_words else {}),
            resources=used,
        )
        target = "extended" if figure == "steerability_baselines" else "all"
        TARGETS[target] += [drawn.path, f"{RESULTS}/{figure}.svg"]

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
                    script="plot_steering",
                    figure=figure,
                    resources=used,
                    tables={name: table.path for name, table in tables.items()},
                    paper=PAPER_STEERING,
                    mask=MASK if with_words else None,
                    **steering_levels,
                ),
            script:
                "../scripts/plot_steering.py"

    # --- the layer table ---------------------------------------------------------------------------
    if words == "demo":
        vocabulary_name = "the demo's words"
    else:
        vocabulary_name = (
            Path(words).name if isinstance(words, str) else "chosen words"
        )
    if STEERING["template"] != "none":
        vocabulary_name += f" in {STEERING['template']!r}"
    captions = {
        "model": config["model"]["name"]
        + (", error term dropped" if STEERING["error"] == "drop" else ""),
        "vocabulary": vocabulary_name,
        "sampling": STEERING["sampling"],
    }
    layer_tables = [
        plan.measured(
            f"steerability_layers.{suffix}",
            "render_steerability",
            upstream=[steering_tables["layers"]],
            resources=["paper/steering.csv"],
            spec=steering_levels | captions,
        )
        for suffix in ("md", "html")
    ]
    TARGETS["all"] += [artefact.path for artefact in layer_tables]

    rule render_steerability:
        input:
            needs(*layer_tables),
        output:
            [path for artefact in layer_tables for path in with_sidecar(artefact)],
        log:
            f"{LOGS}/render_steerability.log",
        benchmark:
            f"{BENCHMARKS}/render_steerability.tsv"
        localrule: True
        conda:
            "../../envs/clip_sae.yaml"
        params:
            spec=job_spec(
                *layer_tables,
                script="render_steerability",
                resources=["paper/steering.csv"],
                layers=steering_tables["layers"].path,
                paper=PAPER_STEERING,
                **steering_levels,
                **captions,
            ),
        script:
            "../scripts/render_steerability.py"

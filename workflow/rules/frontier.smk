"""Quality against L0, every architecture (target `extended`). Declared in src/clip_sae/analyses/frontier/plan.py."""


use rule step as measure_frontier with:
    """Measure quality and L0 of all SAEs of a recipe of the frontier."""
    input:
        reads("measure_frontier"),
    output:
        makes("measure_frontier"),
    log:
        logs("measure_frontier"),
    benchmark:
        times("measure_frontier")
    resources:
        gpu=gpus,

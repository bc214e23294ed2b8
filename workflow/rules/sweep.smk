"""The lr x l1 sweep (target `extended`). Declared in src/clip_sae/analyses/sweep/plan.py."""


use rule step as measure_sweep with:
    """Measure every SAE of the lr x l1 sweep on held-out tokens, and choose one."""
    input:
        reads("measure_sweep"),
    output:
        makes("measure_sweep"),
    log:
        logs("measure_sweep"),
    benchmark:
        times("measure_sweep")
    resources:
        gpu=gpus,

"""L0 per token position → Figs 4 and 8. Declared in src/clip_sae/analyses/l0/plan.py."""


use rule step as measure_l0 with:
    """Count active latents per token position, per layer and on one image."""
    input:
        reads("measure_l0"),
    output:
        makes("measure_l0"),
    log:
        logs("measure_l0"),
    benchmark:
        times("measure_l0")
    resources:
        gpu=gpus,

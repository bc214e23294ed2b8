"""Words written on images → Table 2. Declared in src/clip_sae/analyses/typographic/plan.py."""


use rule step as sweep_typographic with:
    """Measure the units that a written word activates, and every set of them on validation pairs."""
    input:
        reads("sweep_typographic"),
    output:
        makes("sweep_typographic"),
    log:
        logs("sweep_typographic"),
    benchmark:
        times("sweep_typographic")
    resources:
        gpu=gpus,


use rule step as choose_typographic with:
    """Choose the units that the defence sets to zero."""
    input:
        reads("choose_typographic"),
    output:
        makes("choose_typographic"),
    log:
        logs("choose_typographic"),
    benchmark:
        times("choose_typographic")
    localrule: True


use rule step as train_prefix with:
    """Train a Defence-Prefix, on pairs as they are or with the chosen latents at zero."""
    input:
        reads("train_prefix"),
    output:
        makes("train_prefix"),
    log:
        logs("train_prefix"),
    benchmark:
        times("train_prefix")
    resources:
        gpu=gpus,


use rule step as measure_heads with:
    """Rank attention heads by their attention to written words, and choose those to silence."""
    input:
        reads("measure_heads"),
    output:
        makes("measure_heads"),
    log:
        logs("measure_heads"),
    benchmark:
        times("measure_heads")
    resources:
        gpu=gpus,


use rule step as evaluate_typographic with:
    """Evaluate every defence against written words on one set."""
    input:
        reads("evaluate_typographic"),
    output:
        makes("evaluate_typographic"),
    log:
        logs("evaluate_typographic"),
    benchmark:
        times("evaluate_typographic")
    resources:
        gpu=gpus,

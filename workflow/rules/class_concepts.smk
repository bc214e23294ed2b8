"""Concepts and classes: only, or without, the strongest latents of a class (PatchSAE §4.1).

Declared in src/clip_sae/analyses/class_concepts/plan.py.
"""


use rule step as count_classes with:
    """Count, per class, the tokens on which each latent is clearly active."""
    input:
        reads("count_classes"),
    output:
        makes("count_classes"),
    log:
        logs("count_classes"),
    benchmark:
        times("count_classes")
    resources:
        gpu=gpus,
        batch_images=32,


use rule step as measure_class_concepts with:
    """Measure accuracy with only, and without, the strongest latents of each class."""
    input:
        reads("measure_class_concepts"),
    output:
        makes("measure_class_concepts"),
    log:
        logs("measure_class_concepts"),
    benchmark:
        times("measure_class_concepts")
    resources:
        gpu=gpus,
        batch_images=64,

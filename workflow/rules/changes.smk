"""Does adaptation change concepts, or the map from concepts to classes? (target `adaptation`)

Declared in src/clip_sae/analyses/changes/plan.py.
"""


use rule step as measure_changes with:
    """Cross the concepts and maps of one adaptation with the frozen model's, class by class."""
    input:
        reads("measure_changes"),
    output:
        makes("measure_changes"),
    log:
        logs("measure_changes"),
    benchmark:
        times("measure_changes")
    resources:
        gpu=gpus,
        batch_images=32,


use rule step as summarise_changes with:
    """Gather shares of the gain with their intervals, and the tables of classes and latents."""
    input:
        reads("summarise_changes"),
    output:
        makes("summarise_changes"),
    log:
        logs("summarise_changes"),
    benchmark:
        times("summarise_changes")
    localrule: True

"""Images of chosen latents → Figs 1, 2, 3 and 10. Declared in src/clip_sae/analyses/pictures/plan.py."""


use rule step as measure_top_images with:
    """Find the images that activate each unit of a chosen set's layer most."""
    input:
        reads("measure_top_images"),
    output:
        makes("measure_top_images"),
    log:
        logs("measure_top_images"),
    benchmark:
        times("measure_top_images")
    resources:
        gpu=gpus,
        batch_images=32,


use rule step as measure_example with:
    """Choose an image of a set, and answer it with and without the chosen latents."""
    input:
        reads("measure_example"),
    output:
        makes("measure_example"),
    log:
        logs("measure_example"),
    benchmark:
        times("measure_example")
    resources:
        gpu=gpus,

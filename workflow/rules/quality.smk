"""Quality of latents: monosemanticity, clarity, stability over seeds.

Declared in src/clip_sae/analyses/quality/plan.py.
"""


use rule step as embed_images with:
    """Embed the images of a split by the CLIP that latents are judged by."""
    input:
        reads("embed_images"),
    output:
        makes("embed_images"),
    log:
        logs("embed_images"),
    benchmark:
        times("embed_images")
    resources:
        gpu=gpus,
        batch_images=256,


use rule step as measure_quality with:
    """Score every latent of a recipe at one layer, its neurons, and an untrained SAE."""
    input:
        reads("measure_quality"),
    output:
        makes("measure_quality"),
    log:
        logs("measure_quality"),
    benchmark:
        times("measure_quality")
    resources:
        gpu=gpus,
        batch_images=32,

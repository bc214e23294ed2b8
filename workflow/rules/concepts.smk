"""Concepts: the meaning and the position of each latent (PatchSAE §3).

Declared in src/clip_sae/analyses/concepts/plan.py.
"""


use rule step as measure_concepts with:
    """Sum up, in one pass, where and on which classes every latent and neuron is active."""
    input:
        reads("measure_concepts"),
    output:
        makes("measure_concepts"),
    log:
        logs("measure_concepts"),
    benchmark:
        times("measure_concepts")
    resources:
        gpu=gpus,
        batch_images=32,


use rule step as measure_masks with:
    """Score the masks of chosen latents on held-out images, and choose examples to show."""
    input:
        reads("measure_masks"),
    output:
        makes("measure_masks"),
    log:
        logs("measure_masks"),
    benchmark:
        times("measure_masks")
    resources:
        gpu=gpus,
        batch_images=32,

"""A spurious attribute removed → Tables 1 and 5 to 8; text-side baselines, prompts, variants.

Declared in src/clip_sae/analyses/suppression/plan.py.
"""


use rule step as measure_contrast with:
    """Measure the group means of every latent and neuron at one layer of a training split."""
    input:
        reads("measure_contrast"),
    output:
        makes("measure_contrast"),
    log:
        logs("measure_contrast"),
    benchmark:
        times("measure_contrast")
    resources:
        gpu=gpus,
        batch_images=32,


use rule step as evaluate_suppression with:
    """Suppress every set of latents and neurons at one layer, and count right answers."""
    input:
        reads("evaluate_suppression"),
    output:
        makes("evaluate_suppression"),
    log:
        logs("evaluate_suppression"),
    benchmark:
        times("evaluate_suppression")
    priority: early_layers_first
    resources:
        gpu=gpus,
        batch_images=32,
        batch_images_gpu=256,


if is_split("units"):

    use rule step as evaluate_suppression_part with:
        """Evaluate some kinds of units of one layer."""
        input:
            part_reads("evaluate_suppression"),
        output:
            part_makes("evaluate_suppression"),
        log:
            RULES["evaluate_suppression"].named(LOGS, "-{scatteritem}.log"),
        benchmark:
            RULES["evaluate_suppression"].named(BENCHMARKS, "-{scatteritem}.tsv")
        priority: early_layers_first
        resources:
            gpu=gpus,
            batch_images=32,
            batch_images_gpu=256,
        params:
            step=part_declared("evaluate_suppression"),


use rule step as choose_suppression with:
    """List the choice at every layer of a data set, with its test numbers."""
    input:
        reads("choose_suppression"),
    output:
        makes("choose_suppression"),
    log:
        logs("choose_suppression"),
    benchmark:
        times("choose_suppression")
    localrule: True


use rule step as compare_suppression with:
    """Put neurons next to the SAE picked on validation, layer by layer: Table 1."""
    input:
        reads("compare_suppression"),
    output:
        makes("compare_suppression"),
    log:
        logs("compare_suppression"),
    benchmark:
        times("compare_suppression")
    localrule: True


use rule step as measure_text_side with:
    """Measure edits of the text embeddings instead of the residual."""
    input:
        reads("measure_text_side"),
    output:
        makes("measure_text_side"),
    log:
        logs("measure_text_side"),
    benchmark:
        times("measure_text_side")
    resources:
        gpu=gpus,


use rule step as measure_prompts with:
    """Measure the set of Table 1 under other prompts."""
    input:
        reads("measure_prompts"),
    output:
        makes("measure_prompts"),
    log:
        logs("measure_prompts"),
    benchmark:
        times("measure_prompts")
    resources:
        gpu=gpus,


use rule step as measure_variants with:
    """Compare other readings of Eq. 9, and sets of several layers at once (target `extended`)."""
    input:
        reads("measure_variants"),
    output:
        makes("measure_variants"),
    log:
        logs("measure_variants"),
    benchmark:
        times("measure_variants")
    resources:
        gpu=gpus,

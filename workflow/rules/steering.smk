"""Steerability of every unit of every layer → Figs 5, 6, 7 and 9, their tables, the baselines.

Declared in src/clip_sae/analyses/steering/plan.py. `--set-scatter units=8` splits the measurements.
"""

# Steered images (one unit on one image each) in one forward pass, and units measured at once.
STEERING_BATCHES = {
    "sequences_per_batch": 128,
    "sequences_per_batch_gpu": 1024,
    "units_per_batch": 16,
}


use rule step as embed_vocabulary with:
    """Embed the words of the vocabulary with the CLIP's text tower."""
    input:
        reads("embed_vocabulary"),
    output:
        makes("embed_vocabulary"),
    log:
        logs("embed_vocabulary"),
    benchmark:
        times("embed_vocabulary")
    resources:
        gpu=gpus,


use rule step as measure_steering with:
    """Steer every unit of one kind at one layer, and measure the words that it names."""
    input:
        reads("measure_steering"),
    output:
        makes("measure_steering"),
    log:
        logs("measure_steering"),
    benchmark:
        times("measure_steering")
    priority: early_layers_first
    resources:
        **STEERING_BATCHES,
        gpu=gpus,


if is_split("units"):

    use rule step as measure_steering_part with:
        """Steer a part of the units of one kind at one layer."""
        input:
            part_reads("measure_steering"),
        output:
            part_makes("measure_steering"),
        log:
            RULES["measure_steering"].named(LOGS, "-{scatteritem}.log"),
        benchmark:
            RULES["measure_steering"].named(BENCHMARKS, "-{scatteritem}.tsv")
        priority: early_layers_first
        resources:
            **STEERING_BATCHES,
            gpu=gpus,
        params:
            step=part_declared("measure_steering"),


use rule step as measure_traces with:
    """Follow a few latents along the strength, with their words."""
    input:
        reads("measure_traces"),
    output:
        makes("measure_traces"),
    log:
        logs("measure_traces"),
    benchmark:
        times("measure_traces")
    resources:
        **STEERING_BATCHES,
        gpu=gpus,


use rule step as measure_rarefaction with:
    """Compute how many words random parts of the units name, per kind and layer."""
    input:
        reads("measure_rarefaction"),
    output:
        makes("measure_rarefaction"),
    log:
        logs("measure_rarefaction"),
    benchmark:
        times("measure_rarefaction")


use rule step as count_steerability with:
    """Count the units of each layer and kind by their steerability."""
    input:
        reads("count_steerability"),
    output:
        makes("count_steerability"),
    log:
        logs("count_steerability"),
    benchmark:
        times("count_steerability")
    localrule: True

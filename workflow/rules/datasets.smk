"""Sources: data sets become manifests, weights become a fingerprint.

Declared in src/clip_sae/planning/sources.py.
"""


use rule step as fingerprint_model with:
    """Fingerprint the weights of a CLIP; this job downloads weights of a hub."""
    input:
        reads("fingerprint_model"),
    output:
        makes("fingerprint_model"),
    log:
        logs("fingerprint_model"),
    benchmark:
        times("fingerprint_model")


use rule step as draw_world with:
    """Draw one set of the demo world in the layout of the real set that it stands for."""
    input:
        reads("draw_world"),
    output:
        makes("draw_world"),
    log:
        logs("draw_world"),
    benchmark:
        times("draw_world")
    threads: 2


use rule step as attack_images with:
    """Copy a data set, each image as it is and with another class's name written on it."""
    input:
        reads("attack_images"),
    output:
        makes("attack_images"),
    log:
        logs("attack_images"),
    benchmark:
        times("attack_images")
    threads: 2


use rule step as index_images with:
    """List a data set: its manifest, its classes and a fingerprint of its content."""
    input:
        reads("index_images"),
    output:
        makes("index_images"),
    log:
        logs("index_images"),
    benchmark:
        times("index_images")
    threads: 2


use rule step as summarise_datasets with:
    """Count the images of every data set by split, and those skipped."""
    input:
        reads("summarise_datasets"),
    output:
        makes("summarise_datasets"),
    log:
        logs("summarise_datasets"),
    benchmark:
        times("summarise_datasets")
    localrule: True

"""Sources: data sets become manifests, weights become a fingerprint.

Declared in src/clip_sae/planning/sources.py; makers of data sets in src/clip_sae/datasets/kinds.
"""

from clip_sae.planning.kinds import makers


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


# One rule per maker of data sets (`planning.kinds.Maker`); those of plug-ins are among them.
for maker in makers().values():
    if maker.rule is None:
        continue

    rule:
        name:
            maker.rule.name
        input:
            reads(maker.rule.name),
        output:
            makes(maker.rule.name),
        log:
            logs(maker.rule.name),
        benchmark:
            times(maker.rule.name)
        conda:
            "../../envs/clip_sae.yaml"
        threads: 2
        params:
            step=declared,
        script:
            "../scripts/step.py"

    # A project that imports this one may rename its rules.
    if workflow.is_rule(maker.rule.name):
        workflow.get_rule(maker.rule.name).docstring = maker.help


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

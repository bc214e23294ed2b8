"""clip-sae: images → activations → sparse autoencoders → the figures and tables of two papers.

`snakemake results/table3.csv`, `snakemake --cores all`, or any target of `snakemake --list`.
"""

from snakemake.utils import min_version

min_version("9.19")


# A config named on the command line replaces this one. Snakemake does not tell a cluster's jobs of
# --replace-workflow-config, so that they would merge the two.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/demo.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/sae.smk"
include: "workflow/rules/l0.smk"
include: "workflow/rules/sweep.smk"
include: "workflow/rules/frontier.smk"
include: "workflow/rules/steering.smk"
include: "workflow/rules/steering_figures.smk"
include: "workflow/rules/suppression.smk"
include: "workflow/rules/suppression_tables.smk"
include: "workflow/rules/typographic.smk"
include: "workflow/rules/adaptation.smk"
include: "workflow/rules/adaptation_changes.smk"
include: "workflow/rules/top_images.smk"
include: "workflow/rules/examples.smk"
include: "workflow/rules/concepts.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/class_concepts.smk"
# last: which stores are wanted, and by whom, is known when all others have asked for theirs
include: "workflow/rules/asked.smk"
include: "workflow/rules/drop.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/work.smk"


if workflow.is_main_process:
    PARSED_CODE.save()


# One target for everything that the default budget allows.
rule all:
    default_target: True
    input:
        TARGETS["all"],


# What takes longer: sweeps, seeds, baselines on all layers.
rule extended:
    input:
        TARGETS["extended"],
        TARGETS["adaptation"],


# Prompts learned on the frozen CLIP: what they gain, and what they change.
rule adaptation:
    input:
        TARGETS["adaptation"],


# What this config needs, for `python -m clip_sae gc`: every file and folder that a rule makes.
rule list_artefacts:
    output:
        f"{RESULTS}/artefacts.json",
    log:
        f"{LOGS}/list_artefacts.log",
    localrule: True
    conda:
        "envs/clip_sae.yaml"
    params:
        spec=job_spec(
            artefacts=sorted([*(artefact.path for artefact in ARTEFACTS), *MARKERS])
        ),
    script:
        "workflow/scripts/list_artefacts.py"

"""clip-sae: images → activations → sparse autoencoders → the figures and tables of two papers.

`snakemake results/table3.csv`, `snakemake --cores all`, or any target of `snakemake --list`.
"""

from snakemake.utils import min_version

min_version("9.19")


# A config named on the command line replaces this one. Snakemake does not tell a cluster's jobs of
# --replace-workflow-config, so that they would merge the two.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "workflow/rules/staleness.smk"
include: "workflow/rules/step.smk"
include: "workflow/rules/drop.smk"


# One short file per stage or question. Their order has no meaning.
for rules_file in sorted(Path(workflow.basedir).glob("workflow/rules/*.smk")):
    if rules_file.name not in ("staleness.smk", "step.smk", "drop.smk"):

        include: rules_file


rule all:
    """Every figure and table that the default budget allows."""
    default_target: True
    input:
        files_of("all"),


rule extended:
    """Sweeps, seeds, baselines on all layers, and adaptation: longer than the default budget."""
    input:
        files_of("extended"),


rule adaptation:
    """Prompts learned on the frozen CLIP: what they gain, and what they change."""
    input:
        files_of("adaptation"),

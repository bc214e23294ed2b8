"""The workflow's only script: run the step that the rule's params describe."""

from clip_sae.running.run import run_step

run_step(snakemake)

"""The workflow is workflow/Snakefile; through this file `snakemake` finds it in the project's folder."""


include: "workflow/Snakefile"


# Snakemake 9.27 keeps the default target of the outermost file only (workflow.py, include).
workflow.default_target = "all"

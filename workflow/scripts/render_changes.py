"""Render the shares of the gain and the overlap of the strongest latents as Markdown."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.plotting.adaptation_changes import changes_markdown
from clip_sae.specs import write_text

job = Job(snakemake)
arguments = job.arguments
shares, classes = (pd.read_csv(arguments[name]) for name in ("shares", "classes"))
write_text(Path(snakemake.output[0]), changes_markdown(shares, classes, **arguments["caption"]))
job.publish(snakemake.output[0])

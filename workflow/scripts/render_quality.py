"""Render the quality of latents as Markdown."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.analyses.quality.tables import over_seeds
from clip_sae.plotting.quality import quality_markdown
from clip_sae.specs import write_text

job = Job(snakemake)
path = Path(snakemake.output[0])
table, seeds = pd.read_csv(job.arguments["csv"]), job.arguments["seeds"]
table = over_seeds(table) if seeds else table
write_text(path, quality_markdown(table, job.arguments["caption"], seeds=seeds))
job.publish(str(path))

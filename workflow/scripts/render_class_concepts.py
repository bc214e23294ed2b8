"""Render the mean accuracy over classes for every number of latents, as Markdown."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.plotting.class_concepts import class_concepts_markdown
from clip_sae.specs import write_text

job = Job(snakemake)
path = Path(snakemake.output[0])
table = pd.read_csv(job.arguments["csv"])
write_text(path, class_concepts_markdown(table, **job.arguments["caption"]))
job.publish(str(path))

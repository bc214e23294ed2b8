"""Render base-to-novel accuracies as Markdown."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.plotting import tables
from clip_sae.plotting.adaptation import LAYOUT, printed
from clip_sae.specs import write_text

job = Job(snakemake)
arguments = job.arguments
caption = arguments["caption"]
layout = tables.described(LAYOUT, model=caption["model"], shots=str(caption["shots"]))
rows = printed(pd.read_csv(arguments["csv"]), caption["kinds"])
write_text(Path(snakemake.output[0]), tables.to_markdown(rows, None, layout))
job.publish(snakemake.output[0])

"""Render the layer table of steerability beside the paper's numbers, as Markdown and HTML."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.plotting.steering_layers import render_html, render_markdown, sections
from clip_sae.plotting.tables import read_paper
from clip_sae.specs import write_text

RENDER = {".md": render_markdown, ".html": render_html}

job = Job(snakemake)
names = ("strength", "gamma", "model", "vocabulary", "sampling")
tables = sections(
    pd.read_csv(job.arguments["layers"]),
    read_paper(Path(job.arguments["paper"])),
    **{name: job.arguments[name] for name in names},
)
for path in job.makes:
    write_text(Path(path), RENDER[Path(path).suffix](tables))
    job.publish(path)

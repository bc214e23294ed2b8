"""Render Table 2 or the two-way table beside the paper's numbers, as Markdown and HTML."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.plotting import tables
from clip_sae.plotting.typographic import LAYOUTS, beside, printed, setting
from clip_sae.specs import write_text

RENDER = {".md": tables.to_markdown, ".html": tables.to_html}

job = Job(snakemake)
arguments = job.arguments
layout = tables.described(
    LAYOUTS[arguments["protocol"]],
    model=arguments["model"],
    setting=setting(pd.read_csv(arguments["choice"])),
)
ours = printed(pd.read_csv(arguments["csv"]))
paper = None
if arguments["paper"] is not None:
    paper = beside(tables.read_paper(Path(arguments["paper"])), arguments["paper_sets"])
for path in job.makes:
    write_text(Path(path), RENDER[Path(path).suffix](ours, paper, layout))
    job.publish(path)

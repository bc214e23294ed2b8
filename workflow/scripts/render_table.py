"""Render a table beside the paper's numbers, as Markdown and HTML."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.plotting import tables
from clip_sae.specs import write_text

LAYOUTS = {"table3": tables.TABLE3, "table4": tables.TABLE4}
RENDER = {".md": tables.to_markdown, ".html": tables.to_html}

job = Job(snakemake)
layout = tables.described(
    LAYOUTS[job.arguments["table"]],
    model=job.arguments["model"],
    templates=str(job.arguments["templates"]),
)
ours = pd.read_csv(job.arguments["csv"])
ours = ours[ours["token_subset"] == "all"]  # as the paper's; the CSV has CLS and patches too
paper = tables.read_paper(Path(job.arguments["paper"]))
for path in job.makes:
    write_text(Path(path), RENDER[Path(path).suffix](ours, paper, layout))
    job.publish(path)

"""Render the tables of suppression, the paper's cells beside ours, as Markdown and HTML."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.plotting import suppression_tables as layouts
from clip_sae.plotting.tables import html_page, html_table, read_paper, to_markdown
from clip_sae.specs import write_text

job = Job(snakemake)
model, sets = job.arguments["model"], job.arguments["sets"]


def parts(name: str, path: str) -> list:
    """[(table, layout)] of one file: several where each data set has its own."""
    table = pd.read_csv(path)
    if name == "table1":
        order = job.arguments["order"]
        return [(layouts.table1_cells(table, order), layouts.table1_layout(order, model=model))]
    for dataset, place in sets.items():
        if name in place["tables"]:
            condition = ("strict", "relaxed")[place["tables"].index(name)]
            facts = {"dataset": dataset, "model": model, "points": job.arguments["max_drop"]}
            return [(table, layouts.condition_layout(table, name, condition, **facts))]
    found = []
    for dataset, own in table.groupby("dataset", sort=False):
        facts = {"model": model, "template": sets[dataset]["template"]}
        if name == "suppression_text":
            layout = layouts.text_layout(dataset, **facts)
        elif name == "suppression_prompts":
            layout = layouts.prompt_layout(dataset, chosen=own["chosen"].iloc[0], **facts)
        else:
            layout = layouts.variant_layout(dataset, model=model, column=job.arguments["column"])
        found.append((own, layout))
    return found


for name, path in job.arguments["tables"].items():
    paper = job.arguments["paper"].get(name)
    paper = None if paper is None else read_paper(Path(paper))
    shown = [(layouts.printable(table), layout) for table, layout in parts(name, path)]
    markdown = "\n".join(to_markdown(table, paper, layout) for table, layout in shown)
    page = html_page(name, [html_table(table, paper, layout) for table, layout in shown])
    for suffix, text in ((".md", markdown), (".html", page)):
        target = str(Path(path).with_suffix(suffix))
        write_text(Path(target), text)
        job.publish(target)

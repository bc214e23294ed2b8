"""Shares of the gain with their intervals, and the tables of classes and latents, all methods."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.analyses.changes.cells import CELLS
from clip_sae.analyses.changes.shares import seeds_stacked, share_table
from clip_sae.analyses.steering.tables import write_table
from clip_sae.npz import read_arrays

job = Job(snakemake)
arguments = job.arguments
found = {name: [] for name in arguments["tables"]}
for dataset, method, folder in arguments["folders"]:
    answers = read_arrays(Path(folder) / "answers.npz")
    for which in ("base", "novel"):
        keys = [key.split("|") for key in answers if key.startswith(f"{which}|")]
        seeds = dict.fromkeys(key[1] for key in keys if len(key) == 3)
        right = seeds_stacked(
            [{c.name: answers[f"{which}|{seed}|{c.name}"] for c in CELLS} for seed in seeds]
        )
        table = share_table(right, n_resamples=arguments["resamples"], seed=arguments["seed"])
        table.insert(0, "classes", which)
        found["shares"].append(table.assign(dataset=dataset, method=method))
    for name in ("classes", "latents"):
        table = pd.read_csv(Path(folder) / f"{name}.csv")
        found[name].append(table.assign(dataset=dataset, method=method))
for name, path in arguments["tables"].items():
    table = pd.concat(found[name], ignore_index=True)
    first = ["dataset", "method"]
    write_table(Path(path), table[first + [c for c in table if c not in first]])
    job.publish(path, rows=len(table))

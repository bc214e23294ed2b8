"""Accuracies of all methods on all data sets: with intervals, and run by run."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.adaptation.few_shot import ClassHalves
from clip_sae.analyses.adaptation.base_to_novel import run_accuracies, summarise
from clip_sae.specs import write_text

job = Job(snakemake)
arguments = job.arguments
summaries, runs = [], []
for dataset, methods in arguments["answers"]:
    is_novel = ClassHalves(len(pd.read_csv(arguments["classes"][dataset]))).novel_classes
    tables = {}
    for method, path in methods:
        by_seed = dict(tuple(pd.read_csv(path).groupby("seed")))
        tables[method] = [table.reset_index(drop=True) for table in by_seed.values()]
        runs += [
            {"dataset": dataset, "method": method, "seed": seed, "n_images": len(table)}
            | run_accuracies(table, is_novel)
            for seed, table in by_seed.items()
        ]
    summary = summarise(
        tables, is_novel, n_resamples=arguments["resamples"], seed=arguments["seed"]
    )
    summary.insert(0, "dataset", dataset)
    summaries.append(summary)
tables = {"adaptation": pd.concat(summaries), "adaptation_runs": pd.DataFrame(runs)}
for path in job.makes:
    table = tables[Path(path).stem]
    write_text(Path(path), table.to_csv(index=False))
    job.publish(path, rows=len(table))

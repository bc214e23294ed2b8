"""What was chosen at every layer of one data set, with its test numbers, and its two tables."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.analyses.suppression.bits import read_bits
from clip_sae.analyses.suppression.choose import CONDITIONS
from clip_sae.analyses.suppression.summary import summarise_layer
from clip_sae.analyses.suppression.tables import condition_table
from clip_sae.specs import write_text

job = Job(snakemake)
arguments = job.arguments
summary = pd.concat(
    [
        summarise_layer(
            pd.read_csv(Path(folder) / "rows.csv"),
            read_bits(Path(folder) / "bits.npz"),
            points=arguments["max_drop"],
            n_resamples=arguments["resamples"],
            seed=arguments["seed"],
        )
        for folder in arguments["folders"]
    ],
    ignore_index=True,
)
tables = dict(zip(arguments["tables"], CONDITIONS, strict=True))
for path in job.makes:
    condition = tables.get(Path(path).stem)
    table = summary
    if condition is not None:
        table = condition_table(summary, condition, dict(arguments["columns"]))
    write_text(Path(path), table.to_csv(index=False))
    job.publish(path, rows=len(table))

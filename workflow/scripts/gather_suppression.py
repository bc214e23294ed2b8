"""Put the rows of all sets and layers into one table."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.specs import write_text

job = Job(snakemake)
parts = [pd.read_csv(Path(folder) / "rows.csv") for folder in job.arguments["folders"]]
# The number of a row's bits means something beside its own bits.npz only.
table = pd.concat(parts, ignore_index=True).drop(columns="bits")
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], rows=len(table))

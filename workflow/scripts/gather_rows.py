"""Put the measured rows of several CSVs into one table."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.specs import write_text

job = Job(snakemake)
table = pd.concat([pd.read_csv(path) for path in job.arguments["rows"]], ignore_index=True)
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], rows=len(table))

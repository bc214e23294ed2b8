"""Put the measured rows of several CSVs into one table."""

from pathlib import Path

import pandas as pd
from _job import Job

job = Job(snakemake)
table = pd.concat([pd.read_csv(path) for path in job.arguments["rows"]], ignore_index=True)
table.to_csv(Path(snakemake.output[0]), index=False)
job.publish(snakemake.output[0], rows=len(table))

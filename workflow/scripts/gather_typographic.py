"""Table 2, or the table of the two-way protocol: the rows of one protocol of all sets."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.specs import write_text

job = Job(snakemake)
rows = pd.concat([pd.read_csv(path) for path in job.arguments["rows"]], ignore_index=True)
table = rows[rows["protocol"] == job.arguments["protocol"]]
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], rows=len(table))

"""Table 2, or the table of the two-way protocol: the rows of one protocol of all sets."""

import pandas as pd
from _job import Job

job = Job(snakemake)
rows = pd.concat([pd.read_csv(path) for path in job.arguments["rows"]], ignore_index=True)
table = rows[rows["protocol"] == job.arguments["protocol"]]
table.to_csv(snakemake.output[0], index=False)
job.publish(snakemake.output[0], rows=len(table))

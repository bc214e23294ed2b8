"""Count the units of each layer and kind by their steerability: the table of the histograms."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.plotting.steering_histogram import histogram
from clip_sae.plotting.steering_tables import UNIT_COLUMNS
from clip_sae.specs import write_text

job = Job(snakemake)
counts = histogram(pd.read_csv(job.arguments["units"], usecols=list(UNIT_COLUMNS)))
path = Path(snakemake.output[0])
write_text(path, counts.to_csv(index=False))
job.publish(str(path), rows=len(counts))

"""Table 1: neurons beside the SAE picked on validation, layer by layer, all data sets."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.analyses.suppression.tables import table1
from clip_sae.specs import write_text

job = Job(snakemake)
sets = job.arguments["sets"]
table = table1(
    {name: pd.read_csv(path) for name, path, _ in sets},
    {name: dict(columns) for name, _, columns in sets},
)
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], rows=len(table))

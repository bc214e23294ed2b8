"""How many words a part of the units is expected to name, per kind and layer."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.analyses.steering.rarefaction import rarefaction_table
from clip_sae.analyses.steering.tables import write_table

job = Job(snakemake)
arguments = job.arguments
columns = ["layer", "kind", "label", "strength", "steerability", "top_words"]
units = pd.read_csv(arguments["units"], usecols=columns, dtype={"strength": str})
table = rarefaction_table(
    units, strength=arguments["strength"], beta=arguments["gamma"], seed=arguments["seed"]
)
write_table(Path(snakemake.output[0]), table)
job.publish(snakemake.output[0], rows=len(table))

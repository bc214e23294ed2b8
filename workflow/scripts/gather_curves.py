"""Put the training curves of all SAEs into one table."""

from pathlib import Path

import pandas as pd
from _job import Job

job = Job(snakemake)
curves = [
    pd.read_csv(Path(sae["folder"]) / "curve.csv").assign(
        **{key: sae[key] for key in ("recipe", "variant", "layer", "hook")}
    )
    for sae in job.arguments["saes"]
]
pd.concat(curves, ignore_index=True).to_csv(snakemake.output[0], index=False)
job.publish(snakemake.output[0], saes=len(curves))

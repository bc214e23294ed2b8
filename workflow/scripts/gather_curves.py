"""Put the training curves of all SAEs into one table."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.specs import write_text

job = Job(snakemake)
curves = [
    pd.read_csv(Path(sae["folder"]) / "curve.csv").assign(
        **{key: sae[key] for key in ("recipe", "variant", "layer", "hook")}
    )
    for sae in job.arguments["saes"]
]
write_text(Path(snakemake.output[0]), pd.concat(curves, ignore_index=True).to_csv(index=False))
job.publish(snakemake.output[0], saes=len(curves))

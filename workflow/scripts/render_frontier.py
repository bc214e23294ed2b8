"""Render every architecture's quality at equal L0, as Markdown."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.analyses.frontier import at_equal_l0
from clip_sae.plotting.frontier import to_markdown
from clip_sae.specs import write_text

job = Job(snakemake)
points = pd.read_csv(job.arguments["csv"])
[n_images] = points["n_images"].unique()
[layer], [hook] = points["layer"].unique(), points["hook"].unique()
text = to_markdown(
    at_equal_l0(points, job.arguments["levels"]),
    caption=f"Explained variance and recovered cross-entropy (percent) at equal L0: SAEs on {hook} "
    f"of layer {layer}, {job.arguments['model']}, {n_images:,} held-out images. Mean over seeds "
    f"[least, greatest]; linear in log L0 between neighbouring SAEs of a seed.",
)
path = Path(snakemake.output[0])
write_text(path, text)
job.publish(str(path))

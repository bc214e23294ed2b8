"""Explained variance, L0 and alive latents of every SAE of the sweep, and the one to keep."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.analyses.sweep import choose_sweep_point, held_out_quality
from clip_sae.sae import Sae
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore

job = Job(snakemake)
device = job.torch_device()
rows = []
for place in job.arguments["saes"]:
    store = ActivationStore(Path(place["store"]))
    quality = held_out_quality(store, Sae.load(Path(place["folder"]), device))
    names = ("variant", "layer", "lr", "l1_coefficient")
    rows.append({name: place[name] for name in names} | quality)
table = pd.DataFrame(rows)
try:
    table = choose_sweep_point(table, max_l0=job.arguments["max_l0"])
except ValueError as reason:  # the grid itself is a result, whether or not a point of it will do
    job.log.warning("none is marked as chosen: %s", reason)
    table = table.assign(chosen=False)
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0])

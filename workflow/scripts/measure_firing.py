"""How often each latent fires: the histogram of every SAE's firing rates, dead ones counted."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.analyses.activity import measure_activity
from clip_sae.analyses.firing import firing_histogram
from clip_sae.sae import Sae
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore

job = Job(snakemake)
device = job.torch_device()
tables = []
for place in job.arguments["saes"]:
    job.log.info("%s %s, layer %d", place["recipe"], place["variant"], place["layer"])
    store = ActivationStore(Path(place["store"]))
    activity = measure_activity(store, Sae.load(Path(place["folder"]), device))
    fired, n_tokens = activity.fired()
    table = firing_histogram(fired, n_tokens, layer=place["layer"], recipe=place["recipe"])
    tables.append(table.assign(variant=place["variant"], hook=place["hook"]))
write_text(Path(snakemake.output[0]), pd.concat(tables, ignore_index=True).to_csv(index=False))
job.publish(snakemake.output[0])

"""L0 of every token position of every layer, of the layers, and of one image."""

from pathlib import Path

import numpy as np
import pandas as pd
from _job import Job

from clip_sae.analyses.activity import measure_activity
from clip_sae.analyses.l0 import beside_gpt2, image_l0, l0_by_layer, l0_by_token
from clip_sae.datasets import read_manifest
from clip_sae.sae import Sae
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore

job = Job(snakemake)
arguments = job.arguments
manifest = read_manifest(Path(arguments["index"]), arguments["split"])
rows = manifest.index[manifest["status"] == "ok"]
device = job.torch_device()
tokens, layers, image = [], [], []
for name, folder in arguments["saes"].items():
    layer = int(name)
    job.log.info("layer %d", layer)
    store = ActivationStore(Path(arguments["stores"][name]))
    activity = measure_activity(store, Sae.load(Path(folder), device))
    tokens.append(l0_by_token(activity, layer=layer))
    layers.append(
        l0_by_layer(
            activity, layer=layer, n_resamples=arguments["resamples"], seed=arguments["seed"]
        )
    )
    row = int(np.flatnonzero(activity.source_index == rows[arguments["single_image"]])[0])
    image.append(image_l0(activity, row, layer=layer))
tables = {
    "tokens": pd.concat(tokens, ignore_index=True),
    "layers": beside_gpt2(
        pd.concat(layers, ignore_index=True), pd.read_csv(arguments["gpt2"], comment="#")
    ),
    "image": pd.concat(image, ignore_index=True),
}
for table, path in arguments["tables"].items():
    write_text(Path(path), tables[table].to_csv(index=False))
    job.publish(path)

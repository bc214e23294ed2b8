"""Score every latent of the SAEs of a recipe at a layer, its neurons, and an untrained SAE."""

from pathlib import Path

import numpy as np
import pandas as pd
from _job import Job

from clip_sae.analyses.quality.embeddings import read_embeddings
from clip_sae.analyses.quality.monosemanticity import SimilaritySpace
from clip_sae.analyses.quality.scores import score_units
from clip_sae.analyses.quality.summary import seed_stability, unit_means
from clip_sae.analyses.quality.truth import factor_spaces, read_factors
from clip_sae.analyses.steering.units import untrained_sae
from clip_sae.analyses.suppression.ablation import Latents, Neurons
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.datasets import read_manifest
from clip_sae.sae import Sae
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore

job = Job(snakemake)
arguments, device = job.arguments, job.torch_device()
folder = Path(snakemake.output[0]).parent
rows, vectors = read_embeddings(Path(arguments["embeddings"]) / "embeddings.npz")
spaces = [SimilaritySpace("encoder", vectors)]
if arguments["factors"]:
    paths = read_manifest(Path(arguments["index"])).loc[rows, "path"].reset_index(drop=True)
    file = Path(arguments["root"]) / arguments["factors"]["file"]
    spaces += factor_spaces(read_factors(file, arguments["factors"]["columns"], paths))
store = ActivationStore(Path(arguments["store"]))
images = StoreImages(store, batch_images=job.batch("batch_images"))
about, latents, decoders = [], [], {}


def add(name, units, **what):
    scores = score_units(images, units, rows, spaces, arguments["top_images"], device=device)
    means = unit_means(scores, n_resamples=arguments["resamples"], seed=arguments["seed"])
    row = {"recipe": arguments["recipe"], "layer": arguments["layer"], "sae": name, **what}
    about.append(row | {"n_images": len(images), "total_units": units.n_units} | means)
    latents.append(scores.assign(sae=name, unit=np.arange(len(scores))))
    return scores["monosemanticity_encoder"].notna().to_numpy()


for place in arguments["saes"]:
    variant = place["variant"]
    job.log.info("%s", variant)
    sae = Sae.load(Path(place["folder"]), device)
    alive = add(variant, Latents(sae), kind="latent", seed=place["seed"],
                architecture=place["architecture"])  # fmt: skip
    decoders[variant] = sae.W_dec.float().cpu().numpy()[alive]
_, x = next(images.batches(device))
add("untrained", Latents(untrained_sae(sae, x, arguments["seed"])), kind="untrained")
add("neurons", Neurons(store.d_model), kind="neuron")
stability = seed_stability(decoders, arguments["groups"], arguments["seed"])
table = pd.DataFrame(about).merge(stability, on="sae", how="left")
for space in spaces:
    table[f"floor_{space.name}"] = space.floor
write_text(folder / "summary.csv", table.to_csv(index=False))
write_text(folder / "latents.csv", pd.concat(latents, ignore_index=True).to_csv(index=False))
job.publish(snakemake.output[0], rows=len(table))

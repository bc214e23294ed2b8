"""What one pass over a store finds of all latents and neurons: sums, class counts, top images."""

from pathlib import Path

import numpy as np
import pandas as pd
from _job import Job

from clip_sae.analyses.concepts.class_counts import write_class_counts
from clip_sae.analyses.concepts.maps import reference_maps
from clip_sae.analyses.concepts.sums import measure_concepts
from clip_sae.analyses.concepts.table import concept_table
from clip_sae.analyses.named_records import write_records
from clip_sae.analyses.suppression.ablation import Latents, Neurons
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.analyses.top_images import write_top_images
from clip_sae.datasets import read_classes, read_manifest
from clip_sae.sae import Sae
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore

job = Job(snakemake)
arguments, device = job.arguments, job.torch_device()
folder = Path(snakemake.output[0]).parent
index = Path(arguments["index"])
label, names = read_manifest(index)["label_idx"].to_numpy(), read_classes(index)["name"].tolist()
store = ActivationStore(Path(arguments["store"]))
images = StoreImages(store, batch_images=job.batch("batch_images"))
units = {"latent": Latents(Sae.load(Path(arguments["sae"]), device)),
         "neuron": Neurons(store.d_model)}  # fmt: skip
found = measure_concepts(images, units, label, len(names), arguments["top_images"],
                         threshold=arguments["threshold"], device=device)  # fmt: skip
tables = [concept_table(one, label, names).assign(kind=kind) for kind, one in found.items()]
table = pd.concat(tables, ignore_index=True)
table = table[["kind", *table.columns.drop("kind")]]
table.insert(0, "layer", arguments["layer"])
table.insert(0, "sae", arguments["label"])
write_text(folder / "concepts.csv", table.to_csv(index=False))
write_class_counts(folder / "class_counts.npz", found["latent"].class_counts)
write_top_images(folder / "top_images.npz", {k: {"mean": one.top} for k, one in found.items()})
write_records(folder / "sums.npz", {kind: one.sums for kind, one in found.items()})
strongest = found["latent"].strongest  # [image, place], images as in the store
np.savez(folder / "image_latents.npz", row=images.rows, unit=strongest.unit, value=strongest.value)
maps = reference_maps(images, units["latent"], found["latent"].top.row, device=device)
np.save(folder / "maps.npy", maps)  # [latent, place, patch]
job.publish(snakemake.output[0], rows=len(table))

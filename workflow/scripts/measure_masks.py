"""Score the masks of chosen latents and neurons on held-out images, and pick examples to show."""

from pathlib import Path

import numpy as np
import pandas as pd
from _job import Job

from clip_sae.analyses.concepts.chosen import (
    choose_units,
    first_examples,
    median_examples,
    named_examples,
)
from clip_sae.analyses.concepts.localisation import image_scores, localisation_table
from clip_sae.analyses.concepts.maps import picked_values
from clip_sae.analyses.concepts.masks import read_masks
from clip_sae.analyses.concepts.sums import UnitSums
from clip_sae.analyses.named_records import read_records
from clip_sae.analyses.suppression.ablation import Latents, Neurons
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.datasets import read_classes, read_manifest
from clip_sae.sae import Sae
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore

job = Job(snakemake)
arguments, place, device = job.arguments, job.arguments["place"], job.torch_device()
folder, measured = Path(snakemake.output[0]).parent, Path(arguments["measured"])
manifest = read_manifest(Path(place["index"]))
names, label = read_classes(Path(place["index"]))["name"].tolist(), manifest["label_idx"].to_numpy()
store, shown = ActivationStore(Path(arguments["store"])), None
if arguments["examples"]:
    shown = named_examples(manifest, arguments["examples"])
    StoreImages(store, shown)  # names an image of another split
elif not arguments["masks"]:
    rows = np.sort(store.source_index)
    shown = rows[first_examples(label[rows], arguments["n_examples"])]
# Without known masks there is nothing to score, and only the images that are shown are read.
images = StoreImages(store, None if arguments["masks"] else shown,
                     batch_images=job.batch("batch_images"))  # fmt: skip
own = label[images.rows]
units = {"latent": Latents(Sae.load(Path(arguments["sae"]), device)),
         "neuron": Neurons(store.d_model)}  # fmt: skip
sums = read_records(measured / "sums.npz", UnitSums)
chosen = choose_units(images, units, sums, label, device=device,
                      max_share=arguments["max_share"], strongest=arguments["strongest"],
                      seed=arguments["seed"])  # fmt: skip
of_class, masks, score = chosen.maps["class_latent"], None, np.full(len(images), np.nan)
if arguments["masks"]:
    paths = [Path(place["root"]) / arguments["masks"]["folder"] / path
             for path in manifest.loc[images.rows, "path"]]  # fmt: skip
    masks, coverage = read_masks(paths, tuple(arguments["grid"]), place["decoding"])
    scores = image_scores(chosen.maps, coverage, arguments["seed"])
    table = localisation_table(scores, own, names, n_resamples=arguments["resamples"],
                               seed=arguments["seed"])  # fmt: skip
    table.insert(0, "layer", arguments["layer"])
    table.insert(0, "sae", arguments["label"])
    write_text(folder / "concept_masks.csv", table.to_csv(index=False))
    by_image = scores.assign(row=images.rows[scores["image"]]).drop(columns="image")
    write_text(folder / "scores.csv", by_image.to_csv(index=False))
    score = scores.loc[scores["choice"] == "class_latent", "iou"].to_numpy()
if shown is None:
    positions = median_examples(score, own, arguments["n_examples"])
else:
    positions = [int(np.flatnonzero(images.rows == row)[0]) for row in shown]
rows = []
for position in positions:
    shown = [of_class.unit[position], *chosen.strongest[position]]
    for unit in dict.fromkeys(int(unit) for unit in shown if unit >= 0):
        role = "tells its class" if unit == of_class.unit[position] else "strongest"
        rows.append({"position": position, "row": images.rows[position], "unit": unit,
                     "role": role, "label": names[own[position]],
                     "class_iou": score[position]})  # fmt: skip
examples = pd.DataFrame(rows)
maps = picked_values(images, units["latent"], examples["row"], examples["unit"], device=device)
write_text(folder / "examples.csv", examples.to_csv(index=False))
np.save(folder / "example_maps.npy", maps[:, 1:])  # [row of examples.csv, patch]
if masks is not None:
    np.save(folder / "example_masks.npy", masks[examples["position"]])
job.publish(snakemake.output[0], images=len(images))

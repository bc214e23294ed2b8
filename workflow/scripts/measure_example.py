"""Fig. 1: one image of a spurious set, its strongest chosen latents, and the two answers."""

from pathlib import Path

import numpy as np
import pandas as pd
from _job import Job
from _pictured import class_probabilities, pictured
from _suppression import class_texts, load_model

from clip_sae.analyses.pictures import example_image, example_row, strongest_units
from clip_sae.analyses.suppression.ablation import Latents
from clip_sae.analyses.suppression.groups import read_groups
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.analyses.suppression.several_layers import LayerSet, embeddings_without
from clip_sae.analyses.top_images import token_values
from clip_sae.datasets import read_classes, read_manifest
from clip_sae.sae import Sae
from clip_sae.specs import write_json
from clip_sae.store import ActivationStore

job = Job(snakemake)
arguments = job.arguments
found, example = pictured(arguments), None
if found is not None:
    model, layer = load_model(job), int(found.layer)
    store = ActivationStore(Path(arguments["stores"][found.layer]))
    manifest = read_manifest(Path(arguments["index"]))
    groups = read_groups(manifest, arguments["attribute"])
    rows = np.asarray(store.source_index)
    if arguments["example"] is not None:
        rows = example_row(manifest, arguments["example"], rows)
    images = StoreImages(store, rows)
    text = class_texts(model, arguments["index"], arguments["template"], arguments["names"])
    units = Latents(Sae.load(Path(arguments["saes"][found.layer][found.label]), model.device))
    chosen = found.chosen["latent"]
    before, after = (
        class_probabilities(embeddings_without(model, layer, images, sets), text, model.logit_scale)
        for sets in ((), [LayerSet(layer, units, chosen)])
    )
    here = groups.at(images.rows)
    # The group that the attribute misleads most is the one that the set is chosen to help.
    accuracy = pd.Series(before.argmax(1) == here.label).groupby(here.group).mean().sort_values()
    worst = here.group == accuracy.index[0]
    shown = example_image(before, after, here.label, worst)
    row = int(images.rows[shown])
    values = token_values(
        StoreImages(store, np.array([row])),
        units,
        np.full(units.n_units, row),
        np.arange(units.n_units),
        device=model.device,
    )  # [unit token]
    # Of a set that was chosen on CLS, the latents that CLS loses.
    tokens = values.T[:1] if found.tokens == "cls" else values.T
    strongest = strongest_units(tokens, chosen, arguments["latents"])
    names = arguments["names"] or read_classes(Path(arguments["index"]))["name"].tolist()
    example = {
        "row": row,
        "path": manifest.loc[row, "path"],
        "true": int(here.label[shown]),
        "attribute": int(here.attribute[shown]),
        "layer": layer,
        "units": found.label,
        "condition": found.condition,
        "n_units": len(chosen),
        "n_all": units.n_units,
        "classes": names,
        "before": before[shown].tolist(),
        "after": after[shown].tolist(),
        "latents": [{"unit": int(i), "values": values[i].tolist()} for i in strongest],
    }
else:
    job.log.warning("%s: every chosen set is empty, so there is no example.",
                    arguments["dataset"])  # fmt: skip
about = {"dataset": arguments["dataset"], "concepts": arguments["concepts"], "example": example}
write_json(Path(snakemake.output[0]), about)
job.publish(snakemake.output[0])

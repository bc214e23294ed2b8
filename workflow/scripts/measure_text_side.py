"""Text-side baselines of every data set that has background prompts."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _job import Job
from _suppression import class_texts, last_layer_embeddings, load_model

from clip_sae.analyses.suppression.groups import balanced_rows, read_groups, train_counts
from clip_sae.analyses.suppression.prompts import Embedded, text_table
from clip_sae.analyses.suppression.text_side import SpuriousTexts
from clip_sae.datasets import read_manifest
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore

WEIGHTS = (1.0, 10.0, 100.0, 1e3, 1e4)  # of calibration; Chuang et al. write 1,000

job = Job(snakemake)
arguments = job.arguments
model = load_model(job)


def pairs(texts: list[list[str]]) -> torch.Tensor:
    """[pair, 2, d_embed]; may hold no pair."""
    if not texts:
        return torch.empty(0, 2, model.architecture.d_embed)
    return model.embed_text([text for pair in texts for text in pair]).unflatten(0, (-1, 2)).cpu()


tables = []
for name, place in arguments["sets"].items():
    manifest = read_manifest(Path(place["index"]))
    groups, parts = read_groups(manifest, place["attribute"]), {}
    for split, folder in place["stores"].items():
        rows = np.asarray(ActivationStore(Path(folder)).source_index)
        if place["images"] == "balanced":
            rows = balanced_rows(groups, rows, arguments["seed"])
        embeddings, rows = last_layer_embeddings(model, folder, place["tokens_read"], rows)
        parts[split] = Embedded(embeddings.cpu(), groups.at(rows))
    background = place["background"]
    spurious = SpuriousTexts(
        model.embed_text([*background["a"], *background["not_a"]]).cpu(),
        pairs(background["pairs"]),
        pairs(background["helpful"]),
    )
    table = text_table(
        parts["val"],
        parts["test"],
        class_texts(model, place["index"], place["template"], place["names"]).cpu(),
        spurious,
        train_counts(manifest, groups),
        WEIGHTS,
        n_resamples=arguments["resamples"],
        seed=arguments["seed"],
    )
    table.insert(0, "dataset", name)
    tables.append(table)
table = pd.concat(tables, ignore_index=True)
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], rows=len(table))

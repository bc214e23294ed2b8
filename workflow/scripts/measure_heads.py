"""Rank attention heads by what CLS looks at on attacked images, and choose those to silence."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _job import Job
from _typographic import class_names, load_model, prompts

from clip_sae.analyses.typographic.heads import choose_heads, embeddings_without, rank_heads
from clip_sae.datasets import decode_image, pair_rows, read_manifest
from clip_sae.specs import write_text
from clip_sae.zeroshot import class_embeddings

job = Job(snakemake)
arguments = job.arguments
model, root = load_model(job), Path(arguments["data_root"])
manifest = read_manifest(Path(arguments["pairs_index"]), "val")
pairs = pair_rows(manifest)
# By lot: manifests are sorted, and their first rows are of a few classes.
n = min(len(pairs), arguments["heads"]["max_images"])
pairs = pairs.sample(n, random_state=arguments["seed"]).sort_index()
boxes = pd.read_csv(root / "attacks.csv").set_index("path").loc[pairs["path"]]
boxes = boxes[["left", "top", "right", "bottom"]].to_numpy().tolist()


def batches(side: str) -> list[torch.Tensor]:
    paths = [root / path for path in manifest.loc[pairs[side], "path"]]
    images = [decode_image(path, **arguments["decoding"]) for path in paths]
    parts = np.array_split(np.stack(images), max(1, -(-len(images) // 128)))
    return [model.normalise(part) for part in parts]


ranked = rank_heads(model, batches("attacked"), [tuple(box) for box in boxes], arguments["seed"])
clean = batches("clean")
names = class_names(arguments["pairs_index"])
text = class_embeddings(model, names, prompts(arguments["template"])).cpu()
labels = torch.tensor(manifest.loc[pairs["clean"], "label_idx"].to_numpy())


def clean_accuracy(heads) -> float:
    found = embeddings_without(model, clean, heads) @ text.T
    return float((found.argmax(-1) == labels).double().mean())


chosen, table = choose_heads(
    ranked, clean_accuracy, arguments["max_clean_cost"], arguments["heads"]["max_heads"]
)
job.log.info("%d of %d heads are silenced: %s", len(chosen), len(table), chosen)
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], n_images=len(pairs))

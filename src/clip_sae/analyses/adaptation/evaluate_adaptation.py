"""The answers of the models of one method, one per seed, on all test images."""

from collections.abc import Mapping

import pandas as pd
import torch

from clip_sae.adaptation.few_shot import ClassHalves
from clip_sae.adaptation.training import embed_in_batches
from clip_sae.analyses.adaptation.base_to_novel import answers
from clip_sae.analyses.shared.adapted import load_adapted, usable_rows
from clip_sae.analyses.shared.models import class_names, load_model
from clip_sae.datasets.pixels import pixels_of
from clip_sae.planning.inputs import ClipFiles, ImageFiles

READ = 1024  # images whose pixels are in memory at once


def evaluate_adaptation(
    job, *, clip: ClipFiles, images: ImageFiles, adapted: Mapping, split: str
) -> pd.DataFrame:
    """Return a row per seed and image: seed, image (manifest row), label, among_half, among_all.

    `adapted`: the models of one method, see `load_adapted`.
    """
    model, names = load_model(job, clip), class_names(images.index)
    is_novel = ClassHalves(len(names)).novel_classes
    manifest = usable_rows(images.index, split)
    models = load_adapted(model, adapted)
    with torch.no_grad():
        text = {seed: one.class_embeddings(names) for seed, one in models.items()}
    tables = []
    for start in range(0, len(manifest), READ):
        rows = manifest.iloc[start : start + READ]
        pixels = pixels_of(images, rows)
        for seed, one in models.items():
            similarity = (embed_in_batches(one, pixels) @ text[seed].T).cpu().numpy()
            table = answers(similarity, rows["label_idx"].to_numpy(), is_novel)
            table.insert(0, "image", rows.index)
            table.insert(0, "seed", seed)
            tables.append(table)
    job.facts["n_images"] = len(manifest)
    return pd.concat(tables, ignore_index=True).sort_values(["seed", "image"], kind="stable")

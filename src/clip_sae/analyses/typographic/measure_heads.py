"""Rank attention heads by what CLS looks at on attacked images, and choose those to silence."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from clip_sae.analyses.shared.models import class_names, load_model, prompts
from clip_sae.analyses.typographic.heads import (
    Box,
    choose_heads,
    embeddings_without,
    pixel_batches,
    rank_heads,
)
from clip_sae.clip.zeroshot import class_embeddings
from clip_sae.datasets.manifest import pair_rows, read_manifest
from clip_sae.planning.inputs import ClipFiles, ImageFiles


def measure_heads(
    job,
    *,
    clip: ClipFiles,
    images: ImageFiles,
    heads: Mapping,
    template: str | Sequence[str],
    max_clean_cost: float,
    seed: int,
) -> pd.DataFrame:
    """Return a row per head, as `choose_heads`.

    Args:
        images: of the attacked copy; its validation pairs are used.
        heads: {"max_images", "max_heads"}.
    """
    model = load_model(job, clip)
    manifest = read_manifest(images.index, "val")
    pairs = pair_rows(manifest)
    # By lot: manifests are sorted, and their first rows are of a few classes.
    pairs = pairs.sample(min(len(pairs), heads["max_images"]), random_state=seed).sort_index()

    def batches(side: str) -> list[torch.Tensor]:
        return [*pixel_batches(model, images, manifest.loc[pairs[side]])]

    ranked = rank_heads(model, batches("attacked"), _boxes(images, pairs), seed)
    clean = batches("clean")
    text = class_embeddings(model, class_names(images.index), prompts(template)).cpu()
    labels = torch.tensor(manifest.loc[pairs["clean"], "label_idx"].to_numpy())

    def clean_accuracy(silenced) -> float:
        found = embeddings_without(model, clean, silenced) @ text.T
        return float((found.argmax(-1) == labels).double().mean())

    chosen, table = choose_heads(ranked, clean_accuracy, max_clean_cost, heads["max_heads"])
    job.log.info("%d of %d heads are silenced: %s", len(chosen), len(table), chosen)
    job.facts["n_images"] = len(pairs)
    return table


def _boxes(images: ImageFiles, pairs: pd.DataFrame) -> list[Box]:
    """The box of the written word on each attacked image, in the order of `pairs`."""
    table = pd.read_csv(images.root / "attacks.csv").set_index("path").loc[pairs["path"]]
    boxes = table[["left", "top", "right", "bottom"]].to_numpy().tolist()
    return [tuple(box) for box in boxes]

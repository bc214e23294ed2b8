"""Pairs of clean and attacked images: residuals of one layer, with true and written classes.

Steering paper §7.2. Where only CLS reaches the output, only CLS is read, so a set fits in
memory: 400 MB for 130,000 images of ViT-B/32.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clip_sae.analyses.shared.names import NO_WORD
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.datasets.manifest import pair_rows, read_classes, read_manifest
from clip_sae.store import ActivationStore


@dataclass(frozen=True)
class PairedImages:
    """Pairs at one layer: tokens [image, token, d_model], true class and written class [image]."""

    clean: Tensor
    attacked: Tensor
    label: Tensor
    word: Tensor


def read_rows(store: ActivationStore, rows: np.ndarray, tokens: str) -> Tensor:
    """Return residuals [image, token, d_model] float32 of manifest rows, in the order of `rows`."""
    images = StoreImages(store, rows, tokens=tokens, batch_images=512)
    parts = [x for _, x in images.batches(torch.device("cpu"))]
    at = {row: i for i, row in enumerate(images.rows.tolist())}
    return torch.cat(parts)[[at[int(row)] for row in rows]]


def class_indices(manifest: pd.DataFrame, classes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return (label, word): class indices of each row, `NO_WORD` for a row without a word."""
    index_of = {label: i for i, label in enumerate(classes["label"])} | {"": NO_WORD}
    label = manifest["label_idx"].to_numpy(dtype=np.int64, copy=True)
    return label, manifest["word"].map(index_of).to_numpy(dtype=np.int64, copy=True)


def read_pairs(
    store: ActivationStore, manifest: pd.DataFrame, classes: pd.DataFrame, tokens: str
) -> PairedImages:
    """Return the pairs of one split of an attacked copy; `manifest` holds that split's rows."""
    pairs = pair_rows(manifest)
    attacked = manifest.loc[pairs["attacked"]]
    label, word = class_indices(attacked, classes)
    return PairedImages(
        clean=read_rows(store, pairs["clean"].to_numpy(), tokens),
        attacked=read_rows(store, pairs["attacked"].to_numpy(), tokens),
        label=torch.from_numpy(label),
        word=torch.from_numpy(word),
    )


def pairs_of(index: Path, store: Path, split: str, tokens: str) -> PairedImages:
    """Return the pairs of one split of an attacked copy, from its index and the split's store."""
    manifest, classes = read_manifest(index, split), read_classes(index)
    return read_pairs(ActivationStore(store), manifest, classes, tokens)

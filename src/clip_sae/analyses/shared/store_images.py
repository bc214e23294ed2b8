"""Chosen images of a store, batch by batch.

Steering paper §7.1: validation and test images from the cached residual of the layer.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from clip_sae.store import ActivationStore, to_float32


class StoreImages:
    """Chosen images of a store.

    Args:
        rows: manifest rows of the images; None is all of the store. Their order is the store's.
        tokens: "all" or "cls", the tokens to read.

    Attributes:
        rows: [image] manifest row of each.
    """

    def __init__(
        self,
        store: ActivationStore,
        rows: np.ndarray | None = None,
        *,
        tokens: str = "all",
        batch_images: int = 32,
    ) -> None:
        source = np.asarray(store.source_index)
        keep = np.ones(len(source), dtype=bool) if rows is None else np.isin(source, rows)
        if rows is not None and keep.sum() < len(np.unique(rows)):
            lacking = sorted(set(np.asarray(rows).tolist()) - set(source.tolist()))
            raise ValueError(
                f"{store.path} lacks {len(lacking)} of the {len(rows)} requested images, e.g. "
                f"manifest row {lacking[0]}. Give the store of the same data set and split."
            )
        self.store, self.tokens, self.batch_images = store, tokens, batch_images
        self._positions = np.flatnonzero(keep)
        self.rows = source[self._positions]

    def __len__(self) -> int:
        return len(self.rows)

    def batches(
        self, device: torch.device, desc: str | None = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield (which images, x [image, token, d_model] float32); `desc` names a progress bar."""
        starts = range(0, len(self), self.batch_images)
        for start in tqdm(starts, desc=desc, unit="batch", disable=desc is None):
            at = self._positions[start : start + self.batch_images]
            # Chosen images lie apart: one reading from the first to the last of a batch.
            span = to_float32(self.store.read(int(at[0]), int(at[-1]) + 1, self.tokens))
            x = torch.from_numpy(np.ascontiguousarray(span[at - at[0]]))
            yield slice(start, start + len(at)), x.to(device)

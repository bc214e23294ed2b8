"""Patch maps of every unit's reference images: where in them it is active.

PatchSAE §3.3: reference images are shown through a mask of the latent's activation on each patch.
"""

import numpy as np
import torch

from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.top_images import token_values
from clip_sae.analyses.shared.units import Units

IMAGES_AT_ONCE = 256  # of neighbouring images in the store: little is read that is not wanted


def picked_values(
    images: StoreImages,
    units: Units,
    row: np.ndarray,
    unit: np.ndarray,
    *,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Return [pick, token] float32: the value of unit[i] at each token of manifest row row[i].

    As `token_values`, for picks without number: they are taken in the order of the store, some
    hundred images at a time, so that the time is that of one pass over the images picked.
    """
    row, unit = np.asarray(row, dtype=np.int64), np.asarray(unit, dtype=np.int64)
    found = np.empty((len(row), images.store.n_tokens), dtype=np.float32)
    place = np.full(1 + max(row.max(initial=0), images.rows.max(initial=0)), -1)
    place[images.rows] = np.arange(len(images))
    at = place[row]
    if len(at) and at.min() < 0:
        raise ValueError(
            f"{images.store.path} lacks the image of manifest row {row[at < 0][0]}. Give the "
            f"store of the same data set and split."
        )
    order = np.argsort(at, kind="stable")
    picked = np.unique(at)
    for start in range(0, len(picked), IMAGES_AT_ONCE):
        block = picked[start : start + IMAGES_AT_ONCE]
        low, high = np.searchsorted(at[order], [block[0], block[-1] + 1])
        picks = order[low:high]
        where = StoreImages(images.store, images.rows[block], batch_images=images.batch_images)
        found[picks] = token_values(where, units, row[picks], unit[picks], device=device)
    return found


def reference_maps(
    images: StoreImages,
    units: Units,
    rows: np.ndarray,
    *,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Return [unit, place, patch] float16 of the top images `rows` [unit, place]; NaN for none."""
    maps = np.full((*rows.shape, images.store.n_patches), np.nan, dtype=np.float16)
    unit, place = np.nonzero(rows >= 0)
    values = picked_values(images, units, rows[unit, place], unit, device=device)
    maps[unit, place] = values[:, 1:]
    return maps

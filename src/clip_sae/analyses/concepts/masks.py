"""Masks from patch maps, and their overlap with an object whose mask is known.

PatchSAE §3.3 shows masks over images and scores none; here they are scored against the objects'
own masks. Patches tile the image, so IoU over pixels follows exactly from each patch's coverage.
"""

import numpy as np
import pandas as pd

from clip_sae.datasets.pixels import each_image
from clip_sae.planning.inputs import ImageFiles

MASK_LEVEL = 127  # of 255; brighter is on the object


def patch_coverage(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return [patch], row-major: share of each patch's pixels that lie on the object.

    Args:
        mask: bool [height, width]; grid: (rows, columns) that divide it.
    """
    height, width = mask.shape
    rows, columns = grid
    if height % rows or width % columns:
        raise ValueError(
            f"a mask of {height} × {width} pixels does not split into {rows} × {columns} patches; "
            f"decode it at the model's image size."
        )
    tiles = mask.reshape(rows, height // rows, columns, width // columns)
    return tiles.mean((1, 3)).ravel()


def read_masks(
    masks: ImageFiles, rows: pd.DataFrame, grid: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return masks bool [image, height, width] and coverage [image, patch] of rows of a manifest.

    Args:
        masks: mask files under the paths of their images: white on the object, of the image's
            size, and turned, mirrored and cropped like the image.
    """
    paths = [masks.root / path for path in rows["path"]]
    lacking = [path for path in paths if not path.is_file()]
    if lacking:
        raise FileNotFoundError(
            f"{len(lacking)} of {len(paths)} masks are missing, e.g. {lacking[0]}. Give a mask for "
            f"every image of the split, or leave analyses.concepts.masks out."
        )
    objects = np.stack([one[..., 0] > MASK_LEVEL for one in each_image(masks, rows)])
    return objects, np.stack([patch_coverage(mask, grid) for mask in objects])


def above_share(maps: np.ndarray, low: np.ndarray | float, share: float) -> np.ndarray:
    """Return bool [..., patch]: patches above `low`, by `share` of the way to the map's highest.

    A share of 0 takes all active patches; a map without a value above `low` has an empty mask.

    Args:
        maps: [..., patch]; low: 0 for latents, the map's lowest for units that can be negative.
    """
    high = maps.max(-1, keepdims=True)
    low = np.broadcast_to(np.asarray(low)[..., None], high.shape)
    return (maps >= low + share * (high - low)) & (maps > low)


def intersection_over_union(masks: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Return [...] IoU, over pixels, of patch masks with objects; 0 for an empty mask.

    Args:
        masks: bool [..., patch]; coverage: [..., patch] of the object, 0…1.
    """
    both = np.where(masks, coverage, 0.0).sum(-1)
    either = masks.sum(-1) + coverage.sum(-1) - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def points_at(maps: np.ndarray, low: np.ndarray | float, coverage: np.ndarray) -> np.ndarray:
    """Return [...]: 1 where at least half of the strongest patch lies on the object, else 0.

    Equally strong patches count by their share. A map without a value above `low` points nowhere.
    """
    high = maps.max(-1, keepdims=True)
    strongest = maps == high
    hit = (strongest & (coverage >= 0.5)).sum(-1) / strongest.sum(-1)
    return np.where(high[..., 0] > np.asarray(low), hit, 0.0)


def ranks_above(maps: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Return [image] AUROC over pixels: how likely a pixel of the object has the higher value.

    0.5 is chance, whatever the sizes of object and mask; equal values count half. The result is
    also 0.5 for an object that covers nothing or everything.

    Args:
        maps, coverage: [image, patch].
    """
    order = np.argsort(maps, axis=1, kind="stable")
    values = np.take_along_axis(maps, order, 1)
    on = np.take_along_axis(coverage, order, 1)
    off = 1.0 - on
    before = np.cumsum(off, 1)
    # Each of several equal values counts all pixels below the first, and half of those among them.
    n = values.shape[1]
    first = np.concatenate([np.ones((len(values), 1), bool), values[:, 1:] > values[:, :-1]], 1)
    start = np.maximum.accumulate(np.where(first, np.arange(n), 0), 1)
    last = np.concatenate([first[:, 1:], np.ones((len(values), 1), bool)], 1)
    stop = np.minimum.accumulate(np.where(last, np.arange(n), n)[:, ::-1], 1)[:, ::-1]
    below = np.take_along_axis(before - off, start, 1)
    among = np.take_along_axis(before, stop, 1) - below
    pairs = on.sum(1) * off.sum(1)
    wins = (on * (below + 0.5 * among)).sum(1)
    return np.divide(wins, pairs, out=np.full(len(maps), 0.5), where=pairs > 0)


def best_patches(coverage: np.ndarray) -> np.ndarray:
    """Return bool [patch]: the patches whose mask has the highest IoU of all masks of patches.

    The mask takes the most covered patches, in order; adding one helps while its coverage is above
    the IoU so far.
    """
    order = np.argsort(-coverage, kind="stable")
    both = np.cumsum(coverage[order])
    sizes = np.arange(1, len(order) + 1)
    iou = both / np.maximum(sizes + coverage.sum() - both, 1e-12)
    best = np.zeros(len(coverage), dtype=bool)
    best[order[: 1 + int(iou.argmax())]] = True
    return best & (coverage > 0)

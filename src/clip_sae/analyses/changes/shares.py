"""The share of an adaptation's gain that each crossing of concepts and map retains.

PatchSAE §5: (acc − acc_frozen) / (acc_adapted − acc_frozen). Where the interval of the gain
does not lie above 0 there is no gain to share out, and no share is given. NumPy and pandas only.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from clip_sae.analyses.changes.cells import ADAPTED, CELLS, FROZEN
from clip_sae.metrics import percentile_interval

_BLOCK = 4_000_000  # resample counts held at once: 32 MB


def share_table(
    right: Mapping[str, np.ndarray], *, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return a row per crossing, for one method and one set of classes.

    Args:
        right: {cell name: [seed, image]} share of right answers, 0 or 1; of a control the mean of
            its draws. All seeds of an adaptation answer the same images.

    Columns: cell, title, n_seeds, n_images, accuracy, gain (minus the frozen model's), share (of
    the adapted model's gain), each of the last three with _low and _high, and accuracy_seed_low,
    accuracy_seed_high (least and greatest over the seeds of training). Intervals are 95 %
    percentiles of a bootstrap that draws training seeds and images.
    """
    names = [cell.name for cell in CELLS if cell.name in right]
    values = np.stack([right[name] for name in names])  # [cell seed image]
    draws = resampled_means(values, n_resamples, seed)  # [1 + resample, cell]
    frozen, adapted = (draws[:, names.index(name)] for name in (FROZEN, ADAPTED))
    whole = adapted - frozen
    low, _ = percentile_interval(whole[1:])
    is_gain = low > 0  # of a loss, too, nothing is retained
    rows = []
    for i, name in enumerate(names):
        gain = draws[:, i] - frozen
        with np.errstate(divide="ignore", invalid="ignore"):
            share = gain / whole if is_gain else np.full_like(gain, np.nan)
        by_seed = values[i].mean(-1)
        row = {"cell": name, "title": next(c.title for c in CELLS if c.name == name)}
        row |= {"n_seeds": values.shape[1], "n_images": values.shape[2]}
        row |= _with_interval("accuracy", draws[:, i])
        row |= {"accuracy_seed_low": by_seed.min(), "accuracy_seed_high": by_seed.max()}
        row |= _with_interval("gain", gain) | _with_interval("share", share)
        rows.append(row)
    return pd.DataFrame(rows)


def resampled_means(values: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Return [1 + resample, cell]: means over seeds and images, as they are and resampled.

    `values` [cell, seed, image]. Each resample draws as many seeds as there are, and as many
    images, with replacement; all cells share it, so that differences are paired.
    """
    rng = np.random.default_rng(seed)
    n_cells, n_seeds, n_images = values.shape
    by_seed = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), n_resamples) / n_seeds
    flat = values.reshape(-1, n_images).T  # [image, cell · seed]
    sums = np.empty((n_resamples, n_cells * n_seeds))
    # One block size per image count: the stream of random numbers does not depend on the machine.
    block = max(1, _BLOCK // n_images)
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        counts = rng.multinomial(n_images, np.full(n_images, 1 / n_images), size)
        sums[start : start + size] = counts @ flat
    draws = np.einsum("rcs,rs->rc", sums.reshape(-1, n_cells, n_seeds), by_seed) / n_images
    return np.vstack([values.mean((1, 2)), draws])


def _with_interval(name: str, draws: np.ndarray) -> dict[str, float]:
    # A resample without any gain has no share.
    known = draws[1:][np.isfinite(draws[1:])]
    low, high = percentile_interval(known) if len(known) else (np.nan, np.nan)
    return {name: float(draws[0]), f"{name}_low": low, f"{name}_high": high}


def seeds_stacked(answers: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return {cell: [seed, image]} of one dictionary {cell: [image]} per training seed."""
    return {name: np.stack([one[name] for one in answers]) for name in answers[0]}

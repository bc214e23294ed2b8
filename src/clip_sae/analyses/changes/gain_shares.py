"""The share of an adaptation's gain that each crossing of concepts and map retains.

PatchSAE §5: (acc − acc_frozen) / (acc_adapted − acc_frozen). Shares are NaN unless the interval of
the gain lies above 0.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.changes.crossings import ADAPTED, BY_NAME, CELLS, FROZEN
from clip_sae.files import csv_text
from clip_sae.metrics import percentile_interval
from clip_sae.npz import read_arrays

_CHUNK = 4_000_000  # resample counts held at once: 32 MB


def summarise_changes(
    job, *, measured: Mapping[str, Mapping[str, Path]], resamples: int, seed: int
) -> dict[str, str]:
    """Return {"shares", "classes", "latents"} as CSV with seven digits.

    `measured`: {data set: {method: folder of `measure_changes`}}.
    """
    found = {"shares": [], "classes": [], "latents": []}
    for dataset, methods in measured.items():
        for method, folder in methods.items():
            names = {"dataset": dataset, "method": method}
            shares = _shares(folder, resamples, seed)
            found["shares"] += [table.assign(**names) for table in shares]
            for name in ("classes", "latents"):
                found[name].append(pd.read_csv(folder / f"{name}.csv").assign(**names))
    return {name: _names_first(tables) for name, tables in found.items()}


def _shares(folder: Path, resamples: int, seed: int) -> list[pd.DataFrame]:
    """Return the shares of one adaptation: base classes, then novel ones."""
    answers, tables = read_arrays(folder / "answers.npz"), []
    for which in ("base", "novel"):
        keys = [key.split("|") for key in answers if key.startswith(f"{which}|")]
        seeds = dict.fromkeys(key[1] for key in keys if len(key) == 3)
        right = {
            c.name: np.stack([answers[f"{which}|{one}|{c.name}"] for one in seeds]) for c in CELLS
        }
        table = share_table(right, n_resamples=resamples, seed=seed)
        table.insert(0, "classes", which)
        tables.append(table)
    return tables


def _names_first(tables: list[pd.DataFrame]) -> str:
    """Return tables as one CSV whose first columns are dataset and method."""
    table = pd.concat(tables, ignore_index=True)
    first = ["dataset", "method"]
    return csv_text(table[first + [c for c in table if c not in first]], digits=7)


def share_table(
    right: Mapping[str, np.ndarray], *, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return a row per crossing, for one method and one set of classes.

    Args:
        right: {cell name: [seed, image]} 1 for a right answer, else 0; the mean of the draws for a
            control. All seeds of an adaptation answer the same images.

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
    is_gain = low > 0
    rows = []
    for i, name in enumerate(names):
        gain = draws[:, i] - frozen
        with np.errstate(divide="ignore", invalid="ignore"):
            share = gain / whole if is_gain else np.full_like(gain, np.nan)
        by_seed = values[i].mean(-1)
        row = {"cell": name, "title": BY_NAME[name].title}
        row |= {"n_seeds": values.shape[1], "n_images": values.shape[2]}
        row |= _with_interval("accuracy", draws[:, i])
        row |= {"accuracy_seed_low": by_seed.min(), "accuracy_seed_high": by_seed.max()}
        row |= _with_interval("gain", gain) | _with_interval("share", share)
        rows.append(row)
    return pd.DataFrame(rows)


def resampled_means(values: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Return [1 + resample, cell]: means over seeds and images, plain and resampled.

    `values` [cell, seed, image]. Each resample draws as many seeds as there are, and as many
    images, with replacement; all cells share it, so that differences are paired.
    """
    rng = np.random.default_rng(seed)
    n_cells, n_seeds, n_images = values.shape
    by_seed = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), n_resamples) / n_seeds
    flat = values.reshape(-1, n_images).T  # [image, cell · seed]
    sums = np.empty((n_resamples, n_cells * n_seeds))
    # One chunk size per image count: the stream of random numbers does not depend on the machine.
    chunk = max(1, _CHUNK // n_images)
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        counts = rng.multinomial(n_images, np.full(n_images, 1 / n_images), size)
        sums[start : start + size] = counts @ flat
    draws = np.einsum("rcs,rs->rc", sums.reshape(-1, n_cells, n_seeds), by_seed) / n_images
    return np.vstack([values.mean((1, 2)), draws])


def _with_interval(name: str, draws: np.ndarray) -> dict[str, float]:
    # A resample without a gain has no share.
    known = draws[1:][np.isfinite(draws[1:])]
    low, high = percentile_interval(known) if len(known) else (np.nan, np.nan)
    return {name: float(draws[0]), f"{name}_low": low, f"{name}_high": high}

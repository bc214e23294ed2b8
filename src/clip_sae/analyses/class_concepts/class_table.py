"""Accuracy per class and its mean over classes, with intervals: PatchSAE's top-k curves.

PatchSAE §4.1 gives no interval. Images are resampled within their class; every run shares the
resamples, so that differences between runs are paired. NumPy and pandas only.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clip_sae.analyses.class_concepts.class_answers import ClassAnswers
from clip_sae.metrics import percentile_interval

MEAN = "mean over classes"
_RUN = ["edit", "error", "latents", "k"]


def class_table(
    answers: ClassAnswers, names: Sequence[str], *, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return a row per run and class, and per run one of the mean over classes (class MEAN).

    Columns: edit (keep_only, remove), error (keep, drop), latents (top, other_class, random), k,
    class, n_images, accuracy with _low and _high (95 % percentile bootstrap over images),
    seed_low and seed_high (least and greatest over the draws of `random`), change (accuracy minus
    the clean model's) and, for the classes' own latents, over_random (accuracy minus that of as
    many random ones), each with its interval. Draws of `random` are averaged image by image before
    they are resampled. Classes without images have no rows.
    """
    runs, values, spread = _average_seeds(answers)
    clean = len(runs)
    values = np.vstack([values, answers.clean.astype(np.float64)])
    # For each run, the run of as many random latents.
    number = {run: i for i, run in enumerate(runs)}
    random = [number.get((*run[:2], "random", run[3])) for run in runs]
    present = [c for c in range(len(names)) if (answers.label == c).any()]
    rows, mean_draws, mean_spread = [], 0.0, 0.0
    for c in present:
        own = answers.label == c
        draws = _resampled(values[:, own], n_resamples, np.random.default_rng([seed, c]))
        own_spread = spread[:, own, :].mean(1)  # [run seed]
        rows += _rows(names[c], int(own.sum()), runs, random, clean, draws, own_spread)
        mean_draws = mean_draws + draws / len(present)
        mean_spread = mean_spread + own_spread / len(present)
    rows += _rows(MEAN, len(answers.label), runs, random, clean, mean_draws, mean_spread)
    return pd.DataFrame(rows)


def _average_seeds(answers: ClassAnswers) -> tuple[list, np.ndarray, np.ndarray]:
    """Return runs without seeds, their values [run, image], and [run, image, seed] of each draw.

    The last is NaN for runs that are not drawn.
    """
    grouped: dict[tuple, list[int]] = {}
    for i, (edit, error, kind, _, k) in enumerate(answers.runs):
        grouped.setdefault((edit, error, kind, k), []).append(i)
    n_seeds = max(map(len, grouped.values()))
    values = np.stack([answers.right[at].mean(0) for at in grouped.values()])
    spread = np.full((len(grouped), answers.right.shape[1], n_seeds), np.nan)
    for i, (run, at) in enumerate(grouped.items()):
        if run[2] == "random":
            spread[i] = answers.right[at].T
    return list(grouped), values, spread


def _resampled(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return [1 + n, run]: means over images, plain and resampled; values [run, image]."""
    n_images = values.shape[1]
    counts = rng.multinomial(n_images, np.full(n_images, 1 / n_images), n)
    weights = np.vstack([np.ones(n_images), counts]) / n_images
    return weights @ values.T


def _rows(name, n_images, runs, random, clean, draws, spread) -> list[dict]:
    found = []
    for i, run in enumerate(runs):
        row = dict(zip(_RUN, run, strict=True)) | {"class": name, "n_images": n_images}
        row |= _with_interval("accuracy", draws[:, i])
        drawn = run[2] == "random"
        row |= {"seed_low": spread[i].min() if drawn else np.nan}
        row |= {"seed_high": spread[i].max() if drawn else np.nan}
        row |= _with_interval("change", draws[:, i] - draws[:, clean])
        if run[2] == "top" and random[i] is not None:
            row |= _with_interval("over_random", draws[:, i] - draws[:, random[i]])
        found.append(row)
    return found


def _with_interval(name: str, draws: np.ndarray) -> dict[str, float]:
    low, high = percentile_interval(draws[1:])
    return {name: float(draws[0]), f"{name}_low": low, f"{name}_high": high}

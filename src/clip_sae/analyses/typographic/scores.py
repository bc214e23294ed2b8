"""What predictions on attacked images are worth, with paired bootstrap intervals.

Steering paper Table 2 (accuracy), and the text-confusion rate of the later literature: the share of
images that are called what is written on them. NumPy only.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from clip_sae.metrics import bootstrap_means, percentile_interval

SUBSETS = ("all", "attacked", "not_attacked")


def subset_mask(word: np.ndarray, subset: str) -> np.ndarray:
    """[image] bool: all, those with a written word (`word` ≥ 0), or those without."""
    word = np.asarray(word)
    masks = {"all": np.ones(len(word), bool), "attacked": word >= 0, "not_attacked": word < 0}
    if subset not in masks:
        raise ValueError(f"subset {subset!r} does not exist; write {', '.join(SUBSETS)}.")
    return masks[subset]


def score_defences(
    predictions: Mapping[str, np.ndarray],
    label: np.ndarray,
    word: np.ndarray,
    *,
    baseline: str,
    interactions: Mapping[str, tuple[str, str]] | None = None,
    rivals: Sequence[str] = (),
    n_resamples: int = 2000,
    seed: int = 0,
) -> list[dict]:
    """One row per defence: accuracy, text confusion, gain over `baseline`, interaction.

    All defences see the same resampled images, so that gains and interactions are paired.

    Args:
        predictions: predicted class of each image under each defence, [image].
        label, word: true class, and class of the written word (`NO_WORD` without one), [image].
        interactions: {both: (one, other)}: gain of `both` beyond the sum of the gains of `one` and
            `other`.
        rivals: defences that each other one is compared with: gain_over_<rival>.

    Rows: defence, n_images, n_words; accuracy, text_confusion (NaN without words), gain,
    gain_confusion, interaction and gain_over_<rival> (NaN where not asked, and of the rival
    itself), all with _low and _high, 95 %.
    """
    names = list(predictions)
    label, word = np.asarray(label), np.asarray(word)
    if baseline not in predictions:
        raise ValueError(
            f"the baseline {baseline!r} is not among the defences: {', '.join(names)}."
        )
    if not len(label):
        raise ValueError("no image to score: the subset is empty.")
    right = np.stack([predictions[name] == label for name in names], axis=1).astype(float)
    fooled = np.stack([(predictions[name] == word) & (word >= 0) for name in names], axis=1)
    has_word = (word >= 0).astype(float)[:, None]
    columns = np.concatenate([right, fooled.astype(float), has_word], axis=1)
    n = len(names)
    asked = names, n, baseline, interactions or {}, rivals
    estimates = _metrics(columns.mean(0)[None], *asked)
    resampled = _metrics(bootstrap_means(columns, n_resamples, seed), *asked)
    rows = []
    for name in names:
        row = {"defence": name, "n_images": len(label), "n_words": int(has_word.sum())}
        for metric, values in estimates[name].items():
            row[metric] = float(values[0])
            low, high = _interval(resampled[name][metric])
            row[f"{metric}_low"], row[f"{metric}_high"] = low, high
        rows.append(row)
    return rows


def _metrics(
    means: np.ndarray,
    names: Sequence[str],
    n: int,
    baseline: str,
    interactions: Mapping[str, tuple[str, str]],
    rivals: Sequence[str],
) -> dict[str, dict[str, np.ndarray]]:
    """Every metric [resample] of each defence, from means [resample, column]."""
    right, fooled, share = means[:, :n], means[:, n : 2 * n], means[:, 2 * n]
    with np.errstate(invalid="ignore", divide="ignore"):
        fooled = np.where(share[:, None] > 0, fooled / share[:, None], np.nan)
    at = {name: i for i, name in enumerate(names)}
    gain = right - right[:, [at[baseline]]]
    found = {}
    for name in names:
        metrics = {
            "accuracy": right[:, at[name]],
            "text_confusion": fooled[:, at[name]],
            "gain": gain[:, at[name]],
            "gain_confusion": fooled[:, at[name]] - fooled[:, at[baseline]],
            "interaction": np.full(len(means), np.nan),
        }
        if name in interactions:
            one, other = interactions[name]
            metrics["interaction"] = gain[:, at[name]] - gain[:, at[one]] - gain[:, at[other]]
        for rival in rivals:
            over = gain[:, at[name]] - gain[:, at[rival]]
            metrics[f"gain_over_{rival}"] = np.full(len(means), np.nan) if name == rival else over
        found[name] = metrics
    return found


def _interval(draws: np.ndarray) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]  # a resample may hold no attacked image
    return percentile_interval(known) if len(known) else (float("nan"), float("nan"))

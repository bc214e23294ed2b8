"""Base-to-novel accuracy of adapted models: harmonic mean, gains, intervals over images and seeds.

PatchSAE §5.1; the protocol of Zhou et al. 2022 (CoCoOp). NumPy and pandas only. Every model answers
the same images, so gains over the frozen model are paired.
"""

from collections.abc import Mapping
from zlib import crc32

import numpy as np
import pandas as pd

from clip_sae.metrics import percentile_interval

FROZEN = "none"  # the method that all gains are measured from
# what is asked → how: among the classes of the image's half, or among all
GROUPS = ("base", "novel", "harmonic_mean", "all")
_BLOCK = 1 << 23  # numbers of one block of resamples: 64 MiB


def answers(similarity: np.ndarray, labels: np.ndarray, is_novel: np.ndarray) -> pd.DataFrame:
    """Return what is answered: a row per image, label and the two answers as class indices.

    Args:
        similarity: [image, class], greater is likelier.
        labels: [image] class indices.
        is_novel: [class] bool.

    `among_half` is the likeliest class of the label's half (base or novel), `among_all` of all.
    """
    same_half = is_novel[labels][:, None] == is_novel[None]  # [image class]
    half = np.where(same_half, similarity, -np.inf)
    return pd.DataFrame(
        {"label": labels, "among_half": half.argmax(1), "among_all": similarity.argmax(1)}
    )


def run_accuracies(rows: pd.DataFrame, is_novel: np.ndarray) -> dict[str, float]:
    """{group: accuracy} of the answers of one run."""
    half, whole = (rows["label"] == rows[f"among_{x}"] for x in ("half", "all"))
    novel = is_novel[rows["label"].to_numpy()]
    base, new = float(half[~novel].mean()), float(half[novel].mean())
    means = (base, new, _harmonic(base, new), float(whole.mean()))
    return dict(zip(GROUPS, map(float, means), strict=True))


def summarise(
    runs: Mapping[str, list[pd.DataFrame]],
    is_novel: np.ndarray,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a row per method and group: accuracy, gain over the frozen model, 95 % intervals.

    Accuracies are means over seeds; the harmonic mean is that of the mean base and mean novel
    accuracy. Intervals resample images (the same ones for all methods) and seeds (for each method
    its own); `sd` is the spread over seeds alone, NaN for one.

    Args:
        runs: {method: `answers` of each seed}, all of the same images; FROZEN among them.
        is_novel: [class] bool.

    Raises ValueError where runs answer different images, or a half has none.
    """
    labels = runs[FROZEN][0]["label"].to_numpy()
    for method, tables in runs.items():
        if any(not np.array_equal(table["label"], labels) for table in tables):
            raise ValueError(f"the runs of {method!r} answer other images than the frozen model.")
    novel = is_novel[labels]
    if novel.all() or not novel.any():
        raise ValueError("base-to-novel accuracy needs test images of base and of novel classes.")
    rng = np.random.default_rng(seed)
    # named, so that a method that is added leaves the intervals of the others as they were
    own_rng = {m: np.random.default_rng((seed, crc32(m.encode()))) for m in runs}
    right = {method: _right(tables, novel) for method, tables in runs.items()}
    exact = {method: _means(r, np.ones((1, len(labels))), novel)[0] for method, r in right.items()}
    draws = {method: np.empty((n_resamples, len(GROUPS))) for method in runs}
    block = max(1, _BLOCK // len(labels))
    for start in range(0, n_resamples, block):
        n = min(block, n_resamples - start)
        counts = _resample_counts(rng, len(labels), n)
        for method, r in right.items():
            drawn = own_rng[method].integers(0, len(r), (n, len(r)))
            draws[method][start : start + n] = _means(r, counts, novel, drawn)
    rows = []
    for method, tables in runs.items():
        each = pd.DataFrame([run_accuracies(table, is_novel) for table in tables])
        for i, group in enumerate(GROUPS):
            gain = draws[method][:, i] - draws[FROZEN][:, i]
            low, high = percentile_interval(draws[method][:, i])
            gain_low, gain_high = percentile_interval(gain)
            rows.append(
                {"method": method, "group": group, "accuracy": exact[method][i]}
                | {"accuracy_low": low, "accuracy_high": high}
                | {"gain": exact[method][i] - exact[FROZEN][i]}
                | {"gain_low": gain_low, "gain_high": gain_high}
                | {"sd": each[group].std(ddof=1) if len(tables) > 1 else np.nan}
                | {"n_seeds": len(tables), "n_images": _group_size(group, novel)}
            )
    return pd.DataFrame(rows)


def _right(tables: list[pd.DataFrame], novel: np.ndarray) -> np.ndarray:
    """[seed, image, 3]: right among the base half, among the novel half, among all."""
    half, whole = (
        np.stack([(t["label"] == t[f"among_{x}"]).to_numpy() for t in tables])
        for x in ("half", "all")
    )
    return np.stack([half & ~novel, half & novel, whole], axis=-1).astype(float)


def _means(
    right: np.ndarray, counts: np.ndarray, novel: np.ndarray, drawn: np.ndarray | None = None
) -> np.ndarray:
    """[resample, group] of images counted `counts` [resample, image] and seeds `drawn`."""
    sums = np.einsum("ri,sig->rsg", counts, right, optimize=True)  # [resample seed 3]
    if drawn is not None:
        sums = np.take_along_axis(sums, drawn[:, :, None], axis=1)
    totals = np.stack([counts @ ~novel, counts @ novel, counts.sum(1)], axis=-1)
    base, new, whole = (sums.mean(1) / totals).T
    return np.stack([base, new, _harmonic(base, new), whole], axis=-1)


def _harmonic(base: float | np.ndarray, novel: float | np.ndarray) -> np.ndarray:
    base, novel = np.asarray(base, float), np.asarray(novel, float)
    total = base + novel
    return np.where(total > 0, 2 * base * novel / np.where(total > 0, total, 1), 0.0)


def _resample_counts(rng: np.random.Generator, n_images: int, n: int) -> np.ndarray:
    drawn = rng.integers(0, n_images, (n, n_images)) + np.arange(n)[:, None] * n_images
    return np.bincount(drawn.ravel(), minlength=n * n_images).reshape(n, n_images).astype(float)


def _group_size(group: str, novel: np.ndarray) -> int:
    sizes = {"base": int((~novel).sum()), "novel": int(novel.sum())}
    return sizes.get(group, len(novel))

"""The strongest latents of each class before and after an adaptation: which stay, come, and go.

PatchSAE §5. A latent that counts at no token of a class is not strong there, so that a class may
have fewer than k. NumPy and pandas only.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from clip_sae.metrics import rank_correlation

PERSISTS, APPEARS, VANISHES = "persists", "appears", "vanishes"


class Counts(Protocol):
    """Class-level counts, see `clip_sae.analyses.shared.class_counts`."""

    counts: np.ndarray
    n_images: np.ndarray
    alive: np.ndarray

    def ranked(self) -> np.ndarray: ...


class Latents(Protocol):
    """The latents of one model, see `clip_sae.analyses.changes.latents`."""

    halves: tuple[Counts, Counts]
    activation: np.ndarray
    map: np.ndarray
    counts: Counts


def latent_table(before: Latents, after: Latents, names: Sequence[str], k: int) -> pd.DataFrame:
    """Return a row per class and latent that is among its k strongest before or after.

    Columns: class, latent, status (persists, appears, vanishes), rank_before, rank_after (from 1,
    by class-level count), activation_before, activation_after (mean f over images and tokens),
    map_before, map_after (logits of the class's margin per unit of f).
    """
    counted = [side.counts for side in (before, after)]
    rank = [_ranks(counts.ranked()) for counts in counted]
    rows = []
    for c, name in enumerate(names):
        was, now = (
            (ranks[c] <= k) & (counts.counts[c] > 0)
            for ranks, counts in zip(rank, counted, strict=True)
        )
        for latent in np.flatnonzero(was | now):
            status = VANISHES if not now[latent] else PERSISTS if was[latent] else APPEARS
            row = {"class": name, "latent": int(latent), "status": status}
            for end, side, ranks in zip(("before", "after"), (before, after), rank, strict=True):
                row[f"rank_{end}"] = int(ranks[c, latent])
                row[f"activation_{end}"] = side.activation[c, latent]
                row[f"map_{end}"] = side.map[c, latent]
            rows.append(row)
    return pd.DataFrame(rows)


def class_change_table(
    before: Latents, after: Latents, names: Sequence[str], k: int
) -> pd.DataFrame:
    """Return a row per class: how many of its k strongest latents persist, and what has changed.

    Columns: class, n_images, persist, appear and vanish (numbers of latents), overlap (persist /
    the larger of both sets, of k latents each where so many count at all; NaN where both are
    empty), overlap_halves (the same between two halves of the class's images in the first model),
    overlap_chance (of two random sets of these sizes: the smaller / alive latents),
    count_correlation (rank correlation of the counts over alive latents), activation_change and
    map_change: Σ_j |after_j − before_j| / Σ_j |before_j| of mean activations and of the map, over
    the latents that are among the k strongest before or after.

    overlap_halves is no ceiling of overlap: it compares different images, and half as many, where
    overlap compares two models on the same images. It tells how much the choice of images matters.
    """
    counted = [side.counts for side in (before, after)]
    tops = [_strong(counts, k) for counts in counted]
    halves = [_strong(half, k) for half in before.halves]
    alive = counted[0].alive | counted[1].alive
    rows = []
    for c, name in enumerate(names):
        was, now = tops[0][c], tops[1][c]
        persist = len(np.intersect1d(was, now))
        strong = np.union1d(was, now)
        rows.append(
            {
                "class": name,
                "n_images": int(counted[0].n_images[c]),
                "persist": persist,
                "appear": len(now) - persist,
                "vanish": len(was) - persist,
                "overlap": _overlap(was, now),
                "overlap_halves": _overlap(halves[0][c], halves[1][c]),
                "overlap_chance": min(len(was), len(now)) / max(alive.sum(), 1)
                if len(strong)
                else float("nan"),
                "count_correlation": rank_correlation(
                    counted[0].counts[c, alive], counted[1].counts[c, alive]
                ),
                "activation_change": _relative(before.activation[c], after.activation[c], strong),
                "map_change": _relative(before.map[c], after.map[c], strong),
            }
        )
    return pd.DataFrame(rows)


def _strong(counts: Counts, k: int) -> list[np.ndarray]:
    """Return [class] the latents of greatest count, k at most and none of count 0."""
    tops = zip(counts.ranked()[:, :k], counts.counts, strict=True)
    return [top[own[top] > 0] for top, own in tops]


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Shared latents over the larger set; NaN where both are empty."""
    size = max(len(one), len(other))
    return len(np.intersect1d(one, other)) / size if size else float("nan")


def _relative(before: np.ndarray, after: np.ndarray, at: np.ndarray) -> float:
    """Σ |after − before| / Σ |before| of the entries `at`; NaN where all are 0 before."""
    total = np.abs(before[at]).sum()
    return float(np.abs(after[at] - before[at]).sum() / total) if total > 0 else float("nan")


def _ranks(ranked: np.ndarray) -> np.ndarray:
    """Return [class, latent] the rank from 1 of each latent; `ranked` holds latents in order."""
    ranks = np.empty_like(ranked)
    np.put_along_axis(ranks, ranked, np.arange(1, ranked.shape[1] + 1)[None, :], axis=1)
    return ranks

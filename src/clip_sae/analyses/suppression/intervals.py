"""Intervals and tests of accuracies: bootstrap within groups, and McNemar's exact test.

Steering paper Tables 1 and 5 to 8 give none; their effects are a handful of images. NumPy only.
Resampling n answers of which k are right draws a number of right ones from Binomial(n, k / n), so
that no image has to be drawn: intervals come from counts.
"""

from math import comb

import numpy as np

from clip_sae.analyses.shared.groups import SCORES, Scores
from clip_sae.metrics import percentile_interval

LEVEL = 0.95


def score_intervals(
    scores: Scores, *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return {score: (low, high)}: 95 % percentile intervals, images resampled within each group.

    `scores` of one set, `right` [group].
    """
    rng = np.random.default_rng(seed)
    drawn = rng.binomial(scores.total, scores.accuracy, (n_resamples, len(scores.total)))
    resampled = Scores(drawn, scores.total, scores.train)
    return {name: percentile_interval(getattr(resampled, name), LEVEL) for name in SCORES}


def change_intervals(
    before: np.ndarray,
    after: np.ndarray,
    group: np.ndarray,
    train: np.ndarray,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, tuple[float, float, float]]:
    """Return {score: (after − before, low, high)}, paired: each image keeps both its answers.

    Args:
        before, after: [image] bool, right answers.
        group: [image] 0…3.
        train: [group] training counts, for the adjusted accuracy.
    """
    rng = np.random.default_rng(seed)
    outcome = 2 * before.astype(int) + after  # 0 both wrong … 3 both right
    counts = np.stack([np.bincount(outcome[group == g], minlength=4) for g in range(len(train))])
    total = counts.sum(1)
    drawn = np.stack(
        [rng.multinomial(n, c / n, n_resamples) for n, c in zip(total, counts, strict=True)], axis=1
    )  # [resample group outcome]
    found = {}
    for name in SCORES:
        exact, resampled = (
            getattr(Scores(c[..., 1] + c[..., 3], total, train), name)
            - getattr(Scores(c[..., 2] + c[..., 3], total, train), name)
            for c in (counts, drawn)
        )
        found[name] = (float(exact), *percentile_interval(resampled, LEVEL))
    return found


def mcnemar(before: np.ndarray, after: np.ndarray) -> tuple[int, int, float]:
    """Return (lost, gained, p): McNemar's exact two-sided test on paired answers [image] bool.

    Under no effect each answer that changed was as likely gained as lost: p is that of a fair coin.
    p is 1 where no answer changed.
    """
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    n = lost + gained
    tail = sum(comb(n, k) for k in range(min(lost, gained) + 1))
    return lost, gained, min(1.0, 2 * tail / 2**n)

"""Whether another seed finds the same latents: decoder rows matched by cosine.

The usual measure of a dictionary's stability (Paulo and Belrose 2025, arXiv 2501.16615; Fel et al.
2025, arXiv 2502.12892): match the latents of two SAEs one to one so that the sum of the cosines of
their decoder rows is highest (Hungarian algorithm), and take the mean.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

# The matching's time grows with the cube of the number of latents: minutes at this size.
MOST_LATENTS = 16_384
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Match:
    """How two SAEs agree.

    Attributes:
        matched: mean cosine of latents matched one to one; NaN above MOST_LATENTS.
        nearest: mean of each latent's highest cosine with any of the other SAE, both ways.
        n_matched: pairs, the number of latents of the smaller.
    """

    matched: float
    nearest: float
    n_matched: int


def match_latents(a: np.ndarray, b: np.ndarray) -> Match:
    """Compare two sets of decoder rows, [latent, d_model] each, of any length but zero."""
    if not len(a) or not len(b):
        return Match(float("nan"), float("nan"), 0)
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    n = min(len(a), len(b))
    if max(len(a), len(b)) > MOST_LATENTS:
        matched = float("nan")
    else:
        cosine = a @ b.T
        matched = float(cosine[linear_sum_assignment(cosine, maximize=True)].mean())
    nearest = 0.5 * (_nearest(a, b) + _nearest(b, a))
    return Match(matched, nearest, n)


def _nearest(a: np.ndarray, b: np.ndarray) -> float:
    highest = [
        (a[start : start + ROWS_AT_ONCE] @ b.T).max(1) for start in range(0, len(a), ROWS_AT_ONCE)
    ]
    return float(np.concatenate(highest).mean())


def random_match(n_a: int, n_b: int, d_model: int, seed: int = 0) -> Match:
    """What `match_latents` gives for directions drawn at random: the floor at these sizes."""
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=(n, d_model)).astype(np.float32) for n in (n_a, n_b))
    return match_latents(a, b)

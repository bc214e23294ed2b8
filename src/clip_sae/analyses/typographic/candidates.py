"""Sets of units that the two thresholds can choose.

Steering paper Eq. 9 and §7.2: F_τ = {j : gap_j > τ}; F*_{τ,λ} adds every j whose direction has a
cosine above λ with that of a member of F_τ. NumPy only.

Sets grow as τ falls and as λ falls, so a chain of sets with one λ can be ablated step by step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NO_CLOSURE = 1.0  # no cosine exceeds it


@dataclass(frozen=True)
class Candidate:
    """One set: `units` ascending; `n_selected` of them have gap > tau, the others joined by λ."""

    tau: float
    lam: float
    units: np.ndarray
    n_selected: int


def tau_grid(low: float, high: float, n: int) -> np.ndarray:
    """Return `n` log-spaced thresholds from `high` down to `low`."""
    if not 0 < low < high or n < 2:
        raise ValueError(f"thresholds from {low} to {high} in {n} steps: 0 < low < high, n > 1.")
    return np.geomspace(high, low, n)


def candidates(
    gap: np.ndarray, directions: np.ndarray, taus: Sequence[float], lams: Sequence[float]
) -> list[list[Candidate]]:
    """Return one chain of growing sets per λ: τ descending; equal neighbours in a chain stay.

    Args:
        gap: [unit].
        directions: unit-norm [unit, d_model].
        lams: cosines; `NO_CLOSURE` for F_τ itself.
    """
    gap = np.asarray(gap)
    taus = sorted(map(float, taus), reverse=True)
    nearest = nearest_cosines(gap, directions, taus)  # [tau unit]
    chains = []
    for lam in lams:
        chain = []
        for tau, near in zip(taus, nearest, strict=True):
            selected = gap > tau
            units = np.flatnonzero(selected | (near > lam))
            chain.append(Candidate(tau, float(lam), units, int(selected.sum())))
        chains.append(chain)
    return chains


def nearest_cosines(gap: np.ndarray, directions: np.ndarray, taus: Sequence[float]) -> np.ndarray:
    """Return each unit's largest cosine with a member of F_τ, [tau, unit]; −1 for an empty set.

    `taus` descending. Each new member is compared with all units once.
    """
    directions = np.asarray(directions, dtype=np.float32)
    best = np.full(len(gap), -1.0, dtype=np.float32)
    member = np.zeros(len(gap), dtype=bool)
    rows = []
    for tau in taus:
        new = np.flatnonzero((gap > tau) & ~member)
        member[new] = True
        for chunk in np.array_split(new, max(1, -(-len(new) // 1024))):
            if len(chunk):
                cosines = directions @ directions[chunk].T  # [unit new]
                # Rounding must not take a unit's cosine with itself past λ = 1.
                best = np.maximum(best, np.minimum(cosines.max(1), 1.0))
        rows.append(best.copy())
    return np.stack(rows)

"""Sets of units: from gaps, F_tau for a whole grid of thresholds; and random ones as controls.

Steering paper Eq. 9 and §7.1.1: F_tau = {j : gap_j > tau}, tau searched over [1e-6, 1], and "random
ablations in both the SAE and original CLIP feature spaces". A random latent is nearly always
silent, so equal numbers make an easy control; a random set of equal mass takes as much of each
token away as the chosen one does. NumPy only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clip_sae.analyses.shared.contrast import Contrast

DIRECTIONS = ("a", "not_a", "both")
MASS_TOLERANCE = 0.05
TRIES = 20


def threshold_grid(low: float, high: float, n: int) -> np.ndarray:
    """Return `n` thresholds, logarithmically spaced, from high to low [tau]."""
    return np.geomspace(high, low, n)


@dataclass(frozen=True)
class Family:
    """Nested sets of units: set i holds the first `sizes[i]` units of `order`.

    Attributes:
        direction: "a" for units that are stronger with the attribute, "not_a" without, "both" for
            the union at the same threshold.
        order: [unit] indices, those with the largest gap first.
        sizes: ascending, all different, the first is 0: the empty set.
        tau_low, tau_high: least and greatest threshold of the grid that gives the set; the empty
            set is also that of tau = inf.
    """

    direction: str
    order: np.ndarray
    sizes: tuple[int, ...]
    tau_low: tuple[float, ...]
    tau_high: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.sizes)

    def units(self, i: int) -> np.ndarray:
        """Return the units of set i, ascending."""
        return np.sort(self.order[: self.sizes[i]])


def threshold_family(gap: np.ndarray, taus: Sequence[float], direction: str) -> Family:
    """Return the sets {j : gap_j > tau} of all `taus`, those that are equal merged.

    Args:
        gap: [unit], as of `Contrast.gap`.
        direction: which side of the gap; see `Family`.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction {direction!r} does not exist; write {', '.join(DIRECTIONS)}.")
    score = {"a": gap, "not_a": -gap, "both": np.abs(gap)}[direction]
    order = np.argsort(-score, kind="stable")
    by_size: dict[int, list[float]] = {0: [float("inf")]}
    for tau in sorted(taus, reverse=True):
        by_size.setdefault(int((score > tau).sum()), []).append(float(tau))
    return Family(
        direction,
        order,
        tuple(by_size),
        tuple(min(found) for found in by_size.values()),
        tuple(max(found) for found in by_size.values()),
    )


def single_set(units: np.ndarray) -> Family:
    """Return a family of one set, for controls; it has no threshold."""
    return Family("", np.sort(units), (len(units),), (np.nan,), (np.nan,))


def matched_family(family: Family, n_units: int, gap: np.ndarray) -> Family:
    """Return sets of other units, as large a share of them as each set of `family` is of its own.

    A set holds the units whose gap is largest on the family's side; a set that is not empty is
    matched by one unit at least. tau_low and tau_high are those of the sets that are matched.

    Args:
        n_units: how many units `family` is about; gap: [unit] of the others.
    """
    by_size: dict[int, list[float]] = {}
    for size, low, high in zip(family.sizes, family.tau_low, family.tau_high, strict=True):
        share = 0 if size == 0 else max(1, round(size * len(gap) / n_units))
        by_size.setdefault(share, []).extend((low, high))
    return Family(
        family.direction,
        threshold_family(gap, (), family.direction).order,
        tuple(by_size),
        tuple(min(found) for found in by_size.values()),
        tuple(max(found) for found in by_size.values()),
    )


def chosen_units(contrast: Contrast, row: Mapping) -> np.ndarray:
    """Return the units, ascending, of a row of latents or neurons in results/suppression.csv.

    Args:
        contrast: of the row's units (of the neurons for neuron_matched), as of `measure_contrasts`.
        row: has tokens, contrast, direction and n_units; not a random control's.
    """
    if row["n_units"] == 0:
        return np.empty(0, dtype=np.int64)
    gap = contrast.gap(row["tokens"], row["contrast"])
    order = threshold_family(gap, (), row["direction"]).order
    return np.sort(order[: int(row["n_units"])])


def random_set(pool: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` units of `pool` (fewer if it has fewer), ascending."""
    return np.sort(rng.choice(pool, size=min(n, len(pool)), replace=False))


def random_set_of_mass(
    pool: np.ndarray,
    mass: np.ndarray,
    target: float,
    rng: np.random.Generator,
    tolerance: float = MASS_TOLERANCE,
) -> np.ndarray | None:
    """Return units of `pool`, ascending, whose masses add up to `target` within `tolerance` of it.

    Units are taken in a random order while they bring the sum nearer to the target, passing over
    those that would exceed it by more than the tolerance, so that sums lie on both sides of it.
    Where an order cannot fill it, another is tried; None where none of them can, or for no mass.

    Args:
        pool: unit indices.
        mass: [unit], as of `Contrast.mass`.
    """
    if target <= 0:
        return None
    for _ in range(TRIES):
        taken, total = [], 0.0
        for unit in rng.permutation(pool):
            nearer = abs(total + mass[unit] - target) < abs(total - target)
            if nearer and total + mass[unit] <= (1 + tolerance) * target:
                taken.append(unit)
                total += mass[unit]
            elif total >= (1 - tolerance) * target:  # the first that does not bring it nearer
                break
        if abs(total - target) <= tolerance * target:
            return np.sort(np.asarray(taken, dtype=np.int64))
    return None

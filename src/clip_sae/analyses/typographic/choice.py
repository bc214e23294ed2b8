"""Which set of units is kept: the best on attacked validation images at a small clean cost.

Steering paper §7.2.2 (τ = 1, λ = 0.2 there, at 0.7 points of clean ImageNet accuracy; the rule
itself is not given). pandas and NumPy only, on the rows of the sweep.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

SELECTED_BY_TAU, JOINED_BY_LAMBDA = "tau", "lambda"


def choose(sweep: pd.DataFrame, max_clean_cost: float) -> pd.Series:
    """The row with the highest attacked accuracy among those that keep the clean accuracy.

    A row keeps it if it is at most `max_clean_cost` (0.01: one point) below that of the empty set.
    Ties: fewer units, then larger τ, then larger λ. The empty set can win.
    """
    empty = sweep[sweep["n_units"] == 0]
    if empty.empty:
        raise ValueError("the sweep has no row of the empty set, whose accuracy is the measure.")
    # A count of images cannot be told from its neighbour by rounding.
    floor = empty["clean_accuracy"].iloc[0] - max_clean_cost - 1e-9
    kept = sweep[sweep["clean_accuracy"] >= floor]
    order = ["attacked_accuracy", "n_units", "tau", "lambda"]
    return kept.sort_values(order, ascending=[False, True, False, False], kind="stable").iloc[0]


def unit_table(
    gap: np.ndarray, gap_se: np.ndarray, nearest: np.ndarray, tau: float, lam: float
) -> pd.DataFrame:
    """The units of F*_{τ,λ}, largest gap first: unit, gap, gap_se, joined_by, nearest_cosine.

    Args:
        nearest: largest cosine of each unit with a member of F_τ, [unit].
    """
    selected = gap > tau
    units = np.flatnonzero(selected | (nearest > lam))
    table = pd.DataFrame(
        {
            "unit": units,
            "gap": gap[units],
            "gap_se": gap_se[units],
            "joined_by": np.where(selected[units], SELECTED_BY_TAU, JOINED_BY_LAMBDA),
            "nearest_cosine": nearest[units],
        }
    )
    return table.sort_values(["gap", "unit"], ascending=[False, True], ignore_index=True)


def random_units(active: np.ndarray, n: int, seeds: int, seed: int = 0) -> list[np.ndarray]:
    """`seeds` random sets of `n` units that are ever active: the control of the same size."""
    alive = np.flatnonzero(active > 0)
    n = min(n, len(alive))
    rngs = (np.random.default_rng((seed, i)) for i in range(seeds))
    return [np.sort(rng.choice(alive, size=n, replace=False)) for rng in rngs]


def best_of(choices: Mapping[str, pd.Series]) -> str:
    """The name of the choice with the highest attacked accuracy; ties as in `choose`, then name."""
    return min(
        choices,
        key=lambda name: (
            -choices[name]["attacked_accuracy"],
            choices[name]["n_units"],
            -choices[name]["tau"],
            name,
        ),
    )

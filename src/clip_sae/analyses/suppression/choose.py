"""Every choice of suppression, on validation alone: of a set at a layer, and of the best layer.

Steering paper §7.1.1: F_tau* "maximizes both overall accuracy and worst-group accuracy" (strict);
F_tau' allows "a controlled performance drop (≤ 4 %) in non-target groups" (relaxed). The SAE and
layer of Table 1 are picked on validation too; the paper picked on test. pandas only.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clip_sae.analyses.shared.groups import N_GROUPS
from clip_sae.analyses.shared.names import CONDITIONS

CHOSEN = ("latent", "neuron", "neuron_matched")  # each by itself; other kinds are controls
POINTS = 0.04  # largest loss of any group but the target under the relaxed condition


def chosen_sets(rows: pd.DataFrame, points: float = POINTS) -> pd.DataFrame:
    """Return the set that each condition chooses of every kind of units at one layer.

    The evaluation tests and records these sets, and later steps read its record. Columns: units,
    kind, condition, set.

    Args:
        rows: of one layer, as of `evaluate_layer`; see `choose`.
    """
    found = [
        (units, kind, condition, grid.loc[choose(grid, condition, points), "set"])
        for (units, kind), grid in rows[rows["kind"].isin(CHOSEN)].groupby(
            ["units", "kind"], sort=False
        )
        for condition in CONDITIONS
    ]
    return pd.DataFrame(found, columns=["units", "kind", "condition", "set"])


def choose(rows: pd.DataFrame, condition: str, points: float = POINTS) -> int:
    """Return the index label of the chosen row, always one with split "val".

    strict: overall and worst-group accuracy both at least the baseline's.
    relaxed: no group but the target, the baseline's worst, loses more than `points`.
    Among those, the highest worst-group accuracy, then the highest overall one, then the larger
    tau. The empty set is the baseline, has tau = inf and fulfils both, so there is always a choice.

    Args:
        rows: sets of one kind of units at one layer, columns split, n_units, tau_high, overall,
            worst, right_0…3 and n_0…3. Rows of other splits are ignored.

    Raises ValueError without an empty set among the validation rows, or for an unknown condition.
    """
    val = rows[rows["split"] == "val"]
    empty = val[val["n_units"] == 0]
    if empty.empty:
        raise ValueError(
            "the validation rows have no empty set, which is the baseline. Keep tau = inf among "
            "the sets."
        )
    base, accuracy = empty.iloc[0], accuracies(val)
    if condition == "strict":
        allowed = (val["overall"] >= base["overall"]) & (val["worst"] >= base["worst"])
        allowed = allowed.to_numpy()
    elif condition == "relaxed":
        baseline = accuracies(empty)[0]
        others = np.arange(N_GROUPS) != baseline.argmin()
        # A thousandth of a millionth: 0.95 − 0.91 is a little more than 0.04 in floating point.
        allowed = ((baseline - accuracy)[:, others] <= points + 1e-9).all(axis=1)
    else:
        raise ValueError(f"condition {condition!r} does not exist; write {', '.join(CONDITIONS)}.")
    val = val[allowed]
    order = np.lexsort((-val["tau_high"], -val["overall"], -val["worst"]))  # the last key leads
    return val.index[order[0]]


def strict_rows(summary: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the test rows of a summary for one kind of units under the strict condition."""
    strict = (summary["condition"] == "strict") & (summary["split"] == "test")
    return summary[strict & (summary["kind"] == kind)]


def best_on_validation(rows: pd.DataFrame, units: Sequence[str] | None = None) -> pd.Series | None:
    """Return the row that is best on validation; None without rows.

    Best: highest worst-group, then overall accuracy of its chosen set, then the lower layer, then
    the order of `units`.

    Args:
        rows: of a summary, as of `summarise_layer`.
        units: names of the SAEs that may be picked; None allows all rows.
    """
    rank = [*rows["units"]] if units is None else list(units)
    rows = rows[rows["units"].isin(rank)]
    if rows.empty:
        return None
    order = np.lexsort(
        (rows["units"].map(rank.index), rows["layer"], -rows["val_overall"], -rows["val_worst"])
    )
    return rows.iloc[order[0]]


def accuracies(rows: pd.DataFrame) -> np.ndarray:
    """Return [row, group] from the columns right_0…3 and n_0…3."""
    right, total = (
        rows[[f"{name}_{g}" for g in range(N_GROUPS)]].to_numpy(dtype=float)
        for name in ("right", "n")
    )
    return right / total

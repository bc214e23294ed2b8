"""Choose one set of units of each SAE and of neurons from their sweeps, and the best SAE's.

Steering paper §7.2.2 (τ = 1, λ = 0.2 there, at 0.7 points of clean ImageNet accuracy; the paper
does not give the rule). pandas and NumPy only.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.shared.responses import Responses, unit_file
from clip_sae.npz import read_arrays

SELECTED_BY_TAU, JOINED_BY_LAMBDA = "tau", "lambda"
UNIT_COLUMNS = ["kind", "label", "unit", "gap", "gap_se", "joined_by", "nearest_cosine"]


def choose_typographic(
    job, *, sweeps: Mapping[str, Path], max_clean_cost: float
) -> dict[str, pd.DataFrame]:
    """Return {"sweep", "choice", "units"}.

    sweep: the rows of all sweeps. choice: the kept row of each label, with `chosen` for the best
    of its kind. units: those of the chosen set of each kind, largest gap first.

    Args:
        sweeps: {label of units: folder of its sweep}.
        max_clean_cost: clean accuracy that a set may lose, 0.01 for one point.
    """
    folders = dict.fromkeys(sweeps.values())  # labels of one recipe share a folder
    sweep = pd.concat([pd.read_csv(folder / "sweep.csv") for folder in folders], ignore_index=True)
    rows, units = [], []
    for kind, of_kind in sweep.groupby("kind", sort=False):
        choices = {
            label: choose(of_label, max_clean_cost)
            for label, of_label in of_kind.groupby("label", sort=False)
        }
        best = best_of(choices)
        rows += [row.to_dict() | {"chosen": label == best} for label, row in choices.items()]
        job.log.info("%s: %s", kind, rows[-1] if len(choices) == 1 else choices[best].to_dict())
        if choices[best]["n_units"]:  # if no set is worth its clean cost
            table = _units(sweeps[best], best, choices[best])
            units.append(table.assign(kind=kind, label=best))
    return {
        "sweep": sweep,
        "choice": pd.DataFrame(rows),
        "units": pd.concat(units, ignore_index=True)[UNIT_COLUMNS]
        if units
        else pd.DataFrame(columns=UNIT_COLUMNS),
    }


def _units(folder: Path, label: str, chosen: pd.Series) -> pd.DataFrame:
    """Return the units of one row of a sweep, as `unit_table`."""
    responses = Responses.load(unit_file(folder, "responses", label))
    cosines = read_arrays(unit_file(folder, "cosines", label))
    # The table holds taus as text, which may cost the last digit.
    at = int(np.abs(np.log(cosines["taus"] / chosen["tau"])).argmin())
    tau, nearest = float(cosines["taus"][at]), cosines["nearest"][at]
    return unit_table(responses.gap, responses.gap_se, nearest, tau, chosen["lambda"])


def choose(sweep: pd.DataFrame, max_clean_cost: float) -> pd.Series:
    """Return the row of highest attacked accuracy among those that keep the clean accuracy.

    A row keeps it if it is at most `max_clean_cost` (0.01: one point) below that of the empty set.
    Ties: fewer units, then larger τ, then larger λ. The empty set can win.
    """
    empty = sweep[sweep["n_units"] == 0]
    if empty.empty:
        raise ValueError("the sweep has no row of the empty set, whose accuracy is the baseline.")
    # 1e-9 absorbs rounding: it is far below one image.
    floor = empty["clean_accuracy"].iloc[0] - max_clean_cost - 1e-9
    kept = sweep[sweep["clean_accuracy"] >= floor]
    order = ["attacked_accuracy", "n_units", "tau", "lambda"]
    return kept.sort_values(order, ascending=[False, True, False, False], kind="stable").iloc[0]


def unit_table(
    gap: np.ndarray, gap_se: np.ndarray, nearest: np.ndarray, tau: float, lam: float
) -> pd.DataFrame:
    """Return the units of F*_{τ,λ}, largest gap first.

    Columns: unit, gap, gap_se, joined_by, nearest_cosine.

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


def best_of(choices: Mapping[str, pd.Series]) -> str:
    """Return the choice of highest attacked accuracy; ties as in `choose`, then by name."""
    return min(
        choices,
        key=lambda name: (
            -choices[name]["attacked_accuracy"],
            choices[name]["n_units"],
            -choices[name]["tau"],
            name,
        ),
    )

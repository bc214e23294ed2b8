"""What the sweeps choose: one set of each SAE and of neurons, and the best SAE's."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.shared.responses import Responses
from clip_sae.analyses.shared.unit_files import unit_file
from clip_sae.analyses.typographic.choice import best_of, choose, unit_table
from clip_sae.npz import read_arrays

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
        if choices[best]["n_units"]:  # else nothing is worth its clean cost
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
    """The units of one row of a sweep, as `unit_table`."""
    responses = Responses.load(unit_file(folder, "responses", label))
    cosines = read_arrays(unit_file(folder, "cosines", label))
    # The table holds taus as text, which may cost the last digit.
    place = int(np.abs(np.log(cosines["taus"] / chosen["tau"])).argmin())
    tau, nearest = float(cosines["taus"][place]), cosines["nearest"][place]
    return unit_table(responses.gap, responses.gap_se, nearest, tau, chosen["lambda"])

"""Count the units of each layer and kind by their steerability: the table of the histograms.

Steering paper §6.2.2, Eq. 7 and Fig. 6.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd

WIDTH = 0.02  # of a bin; γ = 0.10 and S = 0.9 lie on edges
PLACE = ["layer", "kind", "label", "strength"]
COLUMNS = [*PLACE, "steerability", "alive"]


def count_steerability(job, *, units: Path) -> pd.DataFrame:
    """Return `steerability_counts` of a table of units."""
    return steerability_counts(pd.read_csv(units, usecols=COLUMNS))


def steerability_counts(units: pd.DataFrame) -> pd.DataFrame:
    """Count units by steerability, in bins (s_low, s_high]: above an edge means strictly above it.

    `units`: `COLUMNS`, steerability in [0, 2]. Returns columns layer, kind, label, strength, s_low,
    s_high, n_units, n_alive; all groups share their bins, and S = 0 lies in the first.
    """
    values = units.steerability
    if values.isna().any() or (values < 0).any():
        bad = units[values.isna() | (values < 0)].iloc[0]
        raise ValueError(
            f"steerability lies in [0, 2]; unit of kind {bad.kind} at layer {bad.layer} has "
            f"{bad.steerability}"
        )
    n_bins = max(round(1 / WIDTH), math.ceil(values.max() / WIDTH - 1e-9))
    edges = np.round(np.arange(n_bins + 1) * WIDTH, 10)
    parts = []
    for place, rows in units.groupby(PLACE):
        bins = np.clip(np.searchsorted(edges, rows.steerability, side="left") - 1, 0, n_bins - 1)
        alive = rows.alive.to_numpy(dtype=bool)
        parts.append(
            pd.DataFrame(dict(zip(PLACE, place, strict=True)), index=range(n_bins)).assign(
                s_low=edges[:-1],
                s_high=edges[1:],
                n_units=np.bincount(bins, minlength=n_bins),
                n_alive=np.bincount(bins[alive], minlength=n_bins),
            )
        )
    return pd.concat(parts, ignore_index=True)

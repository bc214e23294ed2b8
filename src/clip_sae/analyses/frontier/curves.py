"""Quality against sparsity: SAEs of every architecture at equal L0, over seeds.

The usual comparison of SAE architectures (Rajamanoharan et al. 2024, Gated SAEs, Fig. 3; Gao et al.
2024, Fig. 5). Tables with a row per SAE become means over seeds, and values at equal L0. pandas
alone, because the drawing job calls it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

# Columns that separate the curves, and the points of a curve.
CURVE = ["recipe", "architecture", "decoder_norm"]
KNOB = ["knob", "knob_value"]
METRICS = ("explained_variance", "ce_recovered")


def over_seeds(table: pd.DataFrame, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """Return a row per point of a curve: mean, least and greatest of l0 and metrics over seeds.

    `table`: columns architecture, decoder_norm, recipe, knob, knob_value, seed, l0 and `metrics`,
    one row per SAE. Columns: CURVE, KNOB, n_seeds, then <name>, <name>_low and <name>_high
    of l0 and of each metric; along a curve, l0 rises. An SAE without a finite l0 and metrics is
    left out.
    """
    values = ["l0", *metrics]
    finite = _finite(table, metrics)
    groups = finite.groupby([*CURVE, *KNOB], sort=False)
    columns = {"n_seeds": groups.size()}
    for name in values:
        columns[name] = groups[name].mean()
        columns[f"{name}_low"], columns[f"{name}_high"] = groups[name].min(), groups[name].max()
    points = pd.DataFrame(columns).reset_index()
    order = points.groupby(CURVE, sort=False).ngroup()  # the curves stay in the table's order
    return points.iloc[np.lexsort((points.l0, order))].reset_index(drop=True)


def at_equal_l0(
    table: pd.DataFrame, levels: Sequence[float], metrics: Sequence[str] = METRICS
) -> pd.DataFrame:
    """Return each curve's metrics at the given L0 values, read off per seed, then over seeds.

    `table` as for `over_seeds`. Within one seed a metric is linear in log L0 between neighbouring
    SAEs, and unknown (NaN) outside the range of their L0. Columns: CURVE, l0, n_seeds (seeds whose
    range holds that L0), then <name>, <name>_low and <name>_high: mean, least and greatest over
    those seeds. Raises ValueError for a level that is not > 0.
    """
    if min(levels) <= 0:
        raise ValueError(f"L0 levels are {list(levels)}; each must be > 0, for its logarithm")
    rows = []
    for curve, sweep in _finite(table, metrics).groupby(CURVE, sort=False):
        read = {
            name: np.stack([_read_off(seed, name, levels) for _, seed in sweep.groupby("seed")])
            for name in metrics
        }  # [seed level]
        for column, level in enumerate(levels):
            row = dict(zip(CURVE, curve, strict=True)) | {"l0": float(level)}
            for name in metrics:
                values = read[name][:, column]
                values = values[np.isfinite(values)]
                row["n_seeds"] = len(values)
                known = len(values) > 0
                row[name] = values.mean() if known else np.nan
                row[f"{name}_low"] = values.min() if known else np.nan
                row[f"{name}_high"] = values.max() if known else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def _finite(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return the SAEs whose l0 and metrics are all known, so all numbers cover the same SAEs."""
    return table[np.isfinite(table[["l0", *metrics]].to_numpy(dtype=float)).all(axis=1)]


def _read_off(sweep: pd.DataFrame, name: str, levels: Sequence[float]) -> np.ndarray:
    """Return the metric of one seed's SAEs at each level, NaN outside their range."""
    usable = sweep[(sweep.l0 > 0) & np.isfinite(sweep[name])].sort_values("l0")
    if usable.empty:
        return np.full(len(levels), np.nan)
    log_l0 = np.log(usable.l0.to_numpy(dtype=float))
    values = usable[name].to_numpy(dtype=float)
    return np.interp(np.log(levels), log_l0, values, left=np.nan, right=np.nan)

"""Tables of all layers from the measured ones: rows together, histograms, concept coverage.

Steering paper §6.2.2, Eqs 7 and 8, Figs 6 and 7. Eq. 5 for 49,152 latents of twelve layers at two
strengths makes a million rows. No torch.
"""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.files import csv_text
from clip_sae.metrics import percentile_interval

TABLES = {"units": "units.csv.gz", "layer": "layer.csv", "grid": "grid.csv.gz"}
GROUP = ["layer", "kind", "label", "strength"]  # columns that identify a histogram
WIDTH = 0.02  # of a bin; γ = 0.10 and S = 0.9 lie on edges
_POINTS = 40  # sizes at which a coverage curve is evaluated, at most
_ORDERS = 200  # random orders of the units that give its interval


def strength_name(strength: float) -> str:
    """Return the name of a strength in the tables: "150.0", "inf"."""
    return str(float(strength))


def gather_steering(job, *, folders: Sequence[Path], table: str) -> bytes:
    """Return one table ("units", "layer" or "grid") of several measurements as CSV."""
    content, job.facts["rows"] = gather_tables([folder / TABLES[table] for folder in folders])
    return content


def gather_tables(paths: Sequence[Path]) -> tuple[bytes, int]:
    """Return the rows of CSVs with one header as one CSV, and their number.

    The lines are copied as they are. Raises ValueError if a header differs.
    """
    parts = [_read(Path(part)).splitlines(keepends=True) for part in paths]
    odd = [str(part) for part, lines in zip(paths, parts, strict=True) if lines[0] != parts[0][0]]
    if odd:
        raise ValueError(
            f"{odd[0]} has other columns than {paths[0]}, so another version of the code measured "
            "one of them. Delete both and run snakemake again."
        )
    rows = [line for lines in parts for line in lines[1:]]
    return b"".join([parts[0][0], *rows]), len(rows)


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


# --- histograms of steerability -------------------------------------------------------------------


def count_steerability(job, *, units: Path) -> pd.DataFrame:
    """Return `steerability_counts` of a table of units."""
    return steerability_counts(pd.read_csv(units, usecols=[*GROUP, "steerability", "alive"]))


def steerability_counts(units: pd.DataFrame) -> pd.DataFrame:
    """Count units by steerability, in bins (s_low, s_high]: above an edge means strictly above it.

    `units`: columns layer, kind, label, strength, steerability in [0, 2], alive. Returns columns
    layer, kind, label, strength, s_low, s_high, n_units, n_alive; all groups share their bins, and
    S = 0 lies in the first.
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
    for group, rows in units.groupby(GROUP):
        bins = np.clip(np.searchsorted(edges, rows.steerability, side="left") - 1, 0, n_bins - 1)
        alive = rows.alive.to_numpy(dtype=bool)
        parts.append(
            pd.DataFrame(dict(zip(GROUP, group, strict=True)), index=range(n_bins)).assign(
                s_low=edges[:-1],
                s_high=edges[1:],
                n_units=np.bincount(bins, minlength=n_bins),
                n_alive=np.bincount(bins[alive], minlength=n_bins),
            )
        )
    return pd.concat(parts, ignore_index=True)


# --- concept coverage of random parts of the units ------------------------------------------------


def measure_rarefaction(job, *, units: Path, strength: float, gamma: float, seed: int) -> str:
    """Return `rarefaction_table` as CSV; a unit names its word if S > gamma at `strength`."""
    columns = [*GROUP, "steerability", "top_words"]
    rows = pd.read_csv(units, usecols=columns, dtype={"strength": str})
    table = rarefaction_table(rows, strength=strength_name(strength), beta=gamma, seed=seed)
    job.facts["rows"] = len(table)
    return csv_text(table, digits=7)


def rarefaction_table(
    units: pd.DataFrame, *, strength: str, beta: float, seed: int
) -> pd.DataFrame:
    """Return rarefaction curves of every kind, by layer and over all layers (Hurlbert 1971).

    Fig. 7 counts words of many latents against those of few neurons. Expected counts for equal
    numbers of units put both on one axis.

    Args:
        units: rows of steerability_units (layer, kind, label, strength, steerability, top_words).
        strength: the strength's name, as in the column.
        beta: a unit names its word if S > beta.

    Columns: kind, label, layer (or "all"), n_units, expected_coverage, and low, high: the central
    95 % of random samples of so many units. They meet at the last size, which takes all units.
    """
    at = units[units["strength"].astype(str) == strength]
    tables = []
    for (kind, label), part in at.groupby(["kind", "label"], sort=False):
        layers = [(str(layer), rows) for layer, rows in part.groupby("layer")]
        for layer, rows in [*layers, ("all", part)]:
            tables.append(_curve(rows, beta, seed).assign(kind=kind, label=label, layer=layer))
    columns = ["kind", "label", "layer", "n_units", "expected_coverage", "low", "high"]
    return pd.concat(tables, ignore_index=True)[columns]


def expected_coverage(named: Sequence, n_units: int, sizes: np.ndarray) -> np.ndarray:
    """Return [size]: the expected number of distinct words among `size` of `n_units` units.

    `named`: the word of each unit that names one (S > β); the other units name none. In closed
    form, Σ_v 1 − C(n − m_v, size) / C(n, size) with m_v units naming word v.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    if len(named) > n_units or sizes.min(initial=0) < 0 or sizes.max(initial=0) > n_units:
        raise ValueError(
            f"{len(named)} units name a word and samples of {sizes.tolist()} units were requested "
            f"of {n_units} units; neither can be more than {n_units}."
        )
    m = np.unique(np.asarray(named), return_counts=True)[1] if len(named) else np.zeros(0, int)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n_units + 1)))])
    rest, size = n_units - m[None, :], sizes[:, None]
    left = np.maximum(rest - size, 0)
    log_missed = log_factorial[rest] - log_factorial[left]
    log_missed = log_missed - log_factorial[n_units] + log_factorial[n_units - size]
    return (1 - np.where(rest >= size, np.exp(log_missed), 0.0)).sum(1)


def _curve(rows: pd.DataFrame, beta: float, seed: int) -> pd.DataFrame:
    words = rows["top_words"].str.split("|").str[0]
    codes = np.where(rows["steerability"] > beta, words.factorize()[0], -1)
    sizes = np.unique(np.geomspace(1, len(codes), _POINTS).round().astype(np.int64))
    rng = np.random.default_rng(seed)
    drawn = [_coverage_in_order(rng.permutation(codes), sizes) for _ in range(_ORDERS)]
    low, high = np.array([percentile_interval(at_size) for at_size in np.array(drawn).T]).T
    expected = expected_coverage(codes[codes >= 0], len(codes), sizes)
    return pd.DataFrame({"n_units": sizes, "expected_coverage": expected, "low": low, "high": high})


def _coverage_in_order(codes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return distinct words among the first units of one order [size]; −1 is no word."""
    words, first = np.unique(codes, return_index=True)
    return np.searchsorted(np.sort(first[words >= 0]), sizes, side="left")

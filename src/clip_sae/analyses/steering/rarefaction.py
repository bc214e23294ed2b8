"""Concept coverage per unit: how many words a random part of the units is expected to name.

Steering paper Fig. 7 counts words of many latents against those of few neurons. Expected counts for
equal numbers of units put both on one axis (Hurlbert 1971). NumPy only.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clip_sae.metrics import percentile_interval

_POINTS = 40
_ORDERS = 200


def expected_coverage(named: Sequence, n_units: int, sizes: np.ndarray) -> np.ndarray:
    """Return [size]: the expected number of distinct words among `size` of `n_units` units.

    `named`: the word of each unit that names one (S > β); the other units name none. In closed
    form, Σ_v 1 − C(n − m_v, size) / C(n, size) with m_v units naming word v.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    if len(named) > n_units or sizes.min(initial=0) < 0 or sizes.max(initial=0) > n_units:
        raise ValueError(
            f"{len(named)} units name a word and samples of {sizes.tolist()} units are asked for, "
            f"of {n_units} units; neither can be more than there are."
        )
    m = np.unique(np.asarray(named), return_counts=True)[1] if len(named) else np.zeros(0, int)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n_units + 1)))])
    rest, size = n_units - m[None, :], sizes[:, None]
    left = np.maximum(rest - size, 0)
    log_missed = log_factorial[rest] - log_factorial[left]
    log_missed = log_missed - log_factorial[n_units] + log_factorial[n_units - size]
    return (1 - np.where(rest >= size, np.exp(log_missed), 0.0)).sum(1)


def rarefaction_table(
    units: pd.DataFrame, *, strength: str, beta: float, seed: int
) -> pd.DataFrame:
    """Rarefaction curves of every kind, by layer and over all layers.

    Args:
        units: rows of steerability_units (layer, kind, label, strength, steerability, top_words).
        strength: the strength's name, as in the column; beta: a unit names its word if S > beta.

    Columns: kind, label, layer (or "all"), n_units, expected_coverage, and low, high: the central
    95 % of random samples of so many units. At the last size all units are taken, so they meet.
    """
    at = units[units["strength"].astype(str) == strength]
    tables = []
    for (kind, label), part in at.groupby(["kind", "label"], sort=False):
        layers = [(str(layer), rows) for layer, rows in part.groupby("layer")]
        for layer, rows in [*layers, ("all", part)]:
            tables.append(_curve(rows, beta, seed).assign(kind=kind, label=label, layer=layer))
    columns = ["kind", "label", "layer", "n_units", "expected_coverage", "low", "high"]
    return pd.concat(tables, ignore_index=True)[columns]


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
    """Distinct words among the first units of one order [size]; −1 is no word."""
    words, first = np.unique(codes, return_index=True)
    return np.searchsorted(np.sort(first[words >= 0]), sizes, side="left")

"""Readings of the layer table, for all figures and tables of steerability.

Steering paper, Section 6 (Eqs 4-8). The layer table is long: one row per layer, kind of unit,
strength, quantity and threshold, with its interval.
"""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.plotting import theme

KINDS = theme.STYLES["unit"]
DARK = "#444444"  # of marks in legends that stand for several colours
PERFECT = 0.9  # of S: units that move all probability to one word


def read_table(path: Path, **options: object) -> pd.DataFrame:
    """Read a table of steerability.

    Its words include "null" and "nan", some of them in the authors' vocabulary.
    """
    return pd.read_csv(path, keep_default_na=False, na_values=[""], **options)


def kinds_of(table: pd.DataFrame) -> list[str]:
    """Return the kinds of unit that a table holds, in the order of `KINDS`.

    Raises ValueError for a kind without a name, and if one kind has several labels (several SAEs),
    whose rows a figure could not tell apart.
    """
    found = set(table.kind)
    if unknown := sorted(found - set(KINDS)):
        raise ValueError(f"the kind {unknown[0]!r} is unknown; known kinds are {', '.join(KINDS)}")
    for kind, labels in table.groupby("kind").label.unique().items():
        if len(labels) > 1:
            raise ValueError(
                f"the table holds the kind {kind!r} of {len(labels)} labels: "
                f"{', '.join(map(str, labels))}; keep the rows of one"
            )
    return [kind for kind in KINDS if kind in found]


def at_strength(table: pd.DataFrame, strength: float, kind: str | None = None) -> pd.DataFrame:
    """Return the rows of one strength, and of one kind if given; it is infinite for the limit.

    Raises ValueError if there is none.
    """
    rows = table[table.strength.astype(float) == float(strength)]
    rows = rows if kind is None else rows[rows.kind == kind]
    if rows.empty:
        which = "" if kind is None else f" of kind {kind!r}"
        raise ValueError(f"no unit{which} was steered with {strength_name(strength)}")
    return rows


def reading(
    layers: pd.DataFrame,
    quantity: str,
    *,
    kind: str,
    strength: float,
    threshold: float | None = None,
) -> pd.DataFrame:
    """Return the rows of one quantity of one kind at one strength, ascending by layer.

    Args:
        layers: the layer table.
        strength: infinite for the asymptote.
        threshold: picks the rows without a threshold if the quantity has none.
    """
    own = layers[layers.strength.astype(float) == float(strength)]
    rows = own[(own.quantity == quantity) & (own.kind == kind)]
    if threshold is None or rows.threshold.isna().all():
        rows = rows[rows.threshold.isna()]
    else:
        rows = rows[np.isclose(rows.threshold.astype(float), threshold)]
    if rows.layer.duplicated().any():
        raise ValueError(f"{quantity} of {kind} at strength {strength:g} stands twice in a layer")
    return rows.sort_values("layer")


def paper_value(paper: pd.DataFrame, quantity: str, kind: str) -> pd.Series | None:
    """Return the paper's row of a quantity (resources/paper/steering.csv), None if it has none."""
    rows = paper[(paper.quantity == quantity) & (paper.kind == kind)]
    return None if rows.empty else rows.iloc[0]


def strength_name(strength: float) -> str:
    """Return `s = 150`, or `s → ∞` for the asymptote."""
    return "s → ∞" if math.isinf(strength) else f"s = {strength:g}"


def hide_words(words: Iterable[str], mask: Iterable[str]) -> list[str]:
    """Return the words, those of the mask as dots: a figure may hide what a table keeps."""
    masked = {word.lower() for word in mask}
    return ["•••" if str(word).lower() in masked else str(word) for word in words]

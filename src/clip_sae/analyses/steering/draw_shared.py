"""What all figures of steerability look up: kinds of units, and readings of the layer table.

Steering paper, Section 6 (Eqs 4-8). The layer table is long: one row per layer, kind of unit,
strength, quantity and threshold, with its interval.
"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter

from clip_sae.plotting import theme

LAYER_COLUMNS = (
    "layer", "kind", "label", "strength", "quantity", "threshold", "value", "low", "high",
    "n_units", "n_alive", "n_sampled_from", "n_images", "n_words",
)  # fmt: skip
# what figures read of the table of units
UNIT_COLUMNS = ("layer", "kind", "label", "strength", "steerability", "alive")
# kind → name in figures, colour, marker
KINDS = {
    "latent": ("SAE latents", "#0072B2", "o"),
    "neuron": ("neurons", "#D55E00", "s"),
    "neuron_equal_push": ("neurons, equal push", "#E69F00", "D"),
    "pca": ("PCA directions", "#009E73", "^"),
    "random": ("random directions", "#888888", "v"),
    "random_sae": ("latents of an untrained SAE", "#CC79A7", "X"),
}


def kinds_of(table: pd.DataFrame) -> list[str]:
    """The kinds of unit that a table holds, in the order of `KINDS`.

    Raises ValueError for a kind without a name, and where one kind has several labels (several
    SAEs), whose rows a figure could not tell apart.
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


def reading(
    layers: pd.DataFrame,
    quantity: str,
    *,
    kind: str,
    strength: float,
    threshold: float | None = None,
) -> pd.DataFrame:
    """Rows of one quantity of one kind at one strength, ascending by layer; empty if there is none.

    `layers`: the layer table (`LAYER_COLUMNS`). `strength` is infinite for the asymptote. A
    threshold that the quantity's rows do not name picks the rows without one.
    """
    theme.require_columns(layers, LAYER_COLUMNS, "the steerability of layers")
    at_strength = layers.strength.astype(float) == float(strength)
    rows = layers[(layers.quantity == quantity) & (layers.kind == kind) & at_strength]
    if threshold is None or rows.threshold.isna().all():
        rows = rows[rows.threshold.isna()]
    else:
        rows = rows[np.isclose(rows.threshold.astype(float), threshold)]
    if rows.layer.duplicated().any():
        raise ValueError(f"{quantity} of {kind} at strength {strength:g} stands twice in a layer")
    return rows.sort_values("layer")


def strength_name(strength: float) -> str:
    """`s = 150`, or `s → ∞` for the asymptote."""
    return "s → ∞" if math.isinf(strength) else f"s = {strength:g}"


def counted(row: pd.Series) -> str:
    """A count of units with its interval, its n and its share: `1,322 [1,290, 1,350] of 12,000`."""
    interval = "" if pd.isna(row.low) else f" [{row.low:,.0f}, {row.high:,.0f}]"
    return f"{row.value:,.0f}{interval} of {row.n_units:,.0f} ({row.value / row.n_units:.1%})"


def sample_note(rows: pd.DataFrame) -> str:
    """Say what bands and hollow marks mean; hollow is a kind of which a sample was measured."""
    note = "bands: 95 % intervals over images"
    if (rows.n_units < rows.n_sampled_from).any():
        note += " (hollow: and over the choice of a sample of the units)"
    return note


def percent_axis(axis: Axis) -> None:
    """Print an axis of shares in plain percent: 100 %, 2.5 %, 0.01 %."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g} %"))


def paper_value(paper: pd.DataFrame, quantity: str, kind: str) -> pd.Series | None:
    """The paper's row of a quantity (resources/paper/steering.csv), None if it has none."""
    rows = paper[(paper.quantity == quantity) & (paper.kind == kind)]
    return None if rows.empty else rows.iloc[0]


def hide_words(words: Iterable[str], mask: Iterable[str]) -> list[str]:
    """Return the words, those of the mask as dots; a figure may hide what a table keeps."""
    masked = {word.lower() for word in mask}
    return ["•••" if str(word).lower() in masked else str(word) for word in words]

"""Fig. 6: how many latents are steerable, and how far.

Steering paper, Section 6.2.2, Eq. 7 and Fig. 6. Tables: steerability_histogram.csv and
steerability_layers.csv.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.analyses.steering.draw_shared import (
    KINDS,
    counted,
    kinds_of,
    paper_value,
    reading,
    strength_name,
)
from clip_sae.plotting import theme

_COLUMNS = ("layer", "kind", "label", "strength", "s_low", "s_high", "n_units", "n_alive")
_ALL, _ALIVE = "#9CC9E5", "#0072B2"


def plot_histogram(rows: pd.DataFrame, ax: Axes, *, gamma: float) -> Axes:
    """Draw one layer's histogram with a logarithmic count and a line at γ; dead units pale on top.

    `rows`: of one layer, kind and strength, of steerability_histogram.csv.
    """
    theme.require_columns(rows, _COLUMNS, "the histogram of steerability")
    rows = rows.sort_values("s_low")
    edges = np.append(rows.s_low, rows.s_high.iloc[-1])
    # On a logarithmic axis a bar needs a foot: half a unit, so that one unit can be seen.
    for name, colour, label in (("n_units", _ALL, "dead"), ("n_alive", _ALIVE, "alive")):
        ax.stairs(rows[name].clip(lower=0.5), edges, baseline=0.5, fill=True, color=colour,
                  label=label)  # fmt: skip
    ax.set_yscale("log")
    ax.set_ylim(0.5, _top(rows))
    ax.set_xlim(0, edges[-1])
    ax.axvline(gamma, color=theme.CLS, lw=1.0, label=f"γ = {gamma:g}")
    return ax


def _top(rows: pd.DataFrame, headroom: float = 1.0) -> float:
    """Upper end of a logarithmic axis of counts from 0.5.

    `headroom` is the share of its height that the bars above S = 0.1, where words stand, may take.
    """
    high = rows.loc[rows.s_low > 0.1, "n_units"].max()
    return max(2.0, 2.0 * rows.n_units.max(), 0.5 * (2 * max(high, 1)) ** (1 / headroom))


def draw_steerability(
    table: pd.DataFrame,
    layers: pd.DataFrame,
    paper: pd.DataFrame,
    *,
    strength: float,
    gamma: float,
    kind: str = "latent",
) -> Figure:
    """Return Fig. 6: the last layer large, the others small, counts next to the paper's.

    `table`: steerability_histogram.csv; `layers`: the layer table; `paper`: paper/steering.csv.
    """
    theme.require_columns(table, _COLUMNS, "the histogram of steerability")
    kinds_of(table)
    rows = table[(table.kind == kind) & (table.strength.astype(float) == strength)]
    if rows.empty:
        raise ValueError(f"no unit of kind {kind!r} was steered with {strength_name(strength)}")
    *others, last = sorted(rows.layer.unique())
    n_columns = max(1, min(6, len(others)))
    n_rows = math.ceil(len(others) / n_columns)
    figure = theme.new_figure(theme.PAGE_WIDTH, 2.7 + 1.15 * n_rows)
    if n_rows:
        top, bottom = figure.subfigures(2, 1, height_ratios=[2.7, 1.15 * n_rows])
    else:
        top = figure
    main = top.subplots()
    plot_histogram(rows[rows.layer == last], main, gamma=gamma)
    main.set_ylim(top=_top(rows[rows.layer == last], headroom=0.66))
    limit = table[(table.kind == kind) & (table.layer == last) & np.isinf(table.strength)]
    if len(limit):
        limit = limit.sort_values("s_low")
        edges = np.append(limit.s_low, limit.s_high.iloc[-1])
        main.stairs(limit.n_units.clip(lower=0.5), edges, baseline=None, color="black", lw=0.8,
                    label="s → ∞")  # fmt: skip
    floor = reading(layers, "steerability_floor", kind=kind, strength=strength)
    floor = floor[floor.layer == last]
    if len(floor):
        main.axvline(floor.value.iloc[0], color="black", lw=1.0, ls=":",
                     label=f"floor ‖P̄‖² = {floor.value.iloc[0]:.2g}")  # fmt: skip
    main.set_xlabel("steerability S (Eq. 5)")
    main.set_ylabel(f"number of {KINDS[kind][0]}")
    main.set_title(f"layer {last}, {strength_name(strength)}")
    main.text(0.985, 0.97, _counts(layers, paper, last, kind, strength, gamma), ha="right",
              va="top", transform=main.transAxes, size=7, linespacing=1.4)  # fmt: skip
    main.legend(loc="upper left", bbox_to_anchor=(0.16, 1.0))
    if n_rows:
        axes = bottom.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        _small(axes, rows, layers, others, kind=kind, strength=strength, gamma=gamma)
    return figure


def _counts(layers, paper, layer, kind, strength, gamma) -> str:
    """The numbers in the corner: ours with intervals, the paper's below."""
    lines = []
    for quantity, threshold, sign in (("n_steerable", gamma, ">"), ("n_perfect", 0.9, "≥")):
        name = f"S {sign} {threshold:g}"
        rows = reading(layers, quantity, kind=kind, strength=strength, threshold=threshold)
        rows = rows[rows.layer == layer]
        if len(rows):
            lines.append(f"{name}: {counted(rows.iloc[0])}")
        theirs = paper_value(paper, quantity, kind)
        if theirs is not None:
            about = "about " if theirs.approximate else ""
            share = theirs.value / theirs.n_units
            lines.append(
                f"paper, CLIP-ViT-B/32, layer {theirs.layer}: {about}{theirs.value:,.0f} of "
                f"{theirs.n_units:,.0f} ({share:.1%})"
            )
    return "\n".join(lines)


def _small(axes, rows, layers, others, *, kind, strength, gamma) -> None:
    """The other layers, one small panel each, with their counts as titles."""
    steerable = reading(layers, "n_steerable", kind=kind, strength=strength, threshold=gamma)
    steerable = steerable.set_index("layer")
    for ax, layer in zip(axes.ravel(), others, strict=False):
        plot_histogram(rows[rows.layer == layer], ax, gamma=gamma)
        title = f"layer {layer}"
        if layer in steerable.index:
            row = steerable.loc[layer]
            title += f": {row.value:,.0f} ({row.value / row.n_units:.1%})"
        ax.set_title(title, size=7)
    axes[0, 0].set_ylim(0.5, _top(rows))
    for ax in axes.ravel()[len(others) :]:
        ax.set_visible(False)
    for ax in axes.ravel()[: len(others)][-axes.shape[1] :]:  # the lowest of each column
        ax.tick_params(labelbottom=True)
        ax.set_xlabel("S")

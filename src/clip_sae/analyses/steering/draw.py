"""Numbers of latents by steerability, and their steerability against the spread of their words.

Steering paper, Section 6.2.2, Eq. 7 and Fig. 6; App. 11.2, Eqs 10 and 11: the distance of the
promoted words from the mean word should rise with steerability. Tables:
steerability_histogram.csv, steerability_layers.csv and steerability_units.csv.gz.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clip_sae.analyses.steering.draw_shared import (
    KINDS,
    PERFECT,
    at_strength,
    kinds_of,
    paper_value,
    read_table,
    reading,
    strength_name,
)
from clip_sae.plotting import theme
from clip_sae.plotting.panels import band, bin_edges, heading, letters, panel_grid

KIND = "latent"  # both figures show latents alone
_DEAD, _ALIVE = "#9CC9E5", "#0072B2"
# column of the units → axis label; its rank correlation with S is `<column>_rank_correlation`
MEASURES = {
    "d_f": "$D_f$ (Eq. 11)",
    "d_f_authors": "$D_f$, authors' form",
    "dispersion_own": "spread around own centroid",
}
UNIT_COLUMNS = ("layer", "kind", "label", "strength", "steerability", "alive")


# --- Fig. 6 ---------------------------------------------------------------------------------------


def fig6(
    job, *, histogram: Path, layers: Path, paper: Path, strength: float, gamma: float
) -> Figure:
    """Draw the numbers of latents by steerability: the last layer large, the others small.

    The corner says how many are steerable, next to the paper's counts.
    """
    table, readings = read_table(histogram), read_table(layers)
    kinds_of(table)
    rows = at_strength(table, strength, KIND)
    *others, last = sorted(rows.layer.unique())
    n_columns = max(1, min(6, len(others)))
    n_rows = math.ceil(len(others) / n_columns)
    figure = theme.new_figure(theme.PAGE_WIDTH, 2.7 + 1.15 * n_rows)
    if n_rows:
        top, bottom = figure.subfigures(2, 1, height_ratios=[2.7, 1.15 * n_rows])
    else:
        top = figure
    main = top.subplots()
    in_last = rows[rows.layer == last]
    _histogram(main, in_last, gamma)
    main.set_ylim(top=_top(in_last, headroom=0.66))
    limit = table[(table.kind == KIND) & (table.layer == last) & np.isinf(table.strength)]
    if len(limit):
        limit = limit.sort_values("s_low")
        outline = {"baseline": None, "color": "black", "lw": 0.8, "label": "s → ∞"}
        main.stairs(limit.n_units.clip(lower=0.5), bin_edges(limit, "s_low", "s_high"), **outline)
    floor = reading(readings, "steerability_floor", kind=KIND, strength=strength)
    for value in floor[floor.layer == last].value:
        label = f"floor ‖P̄‖² = {value:.2g}"
        main.axvline(value, color="black", lw=1.0, ls=":", label=label)
    main.set_xlabel("steerability S (Eq. 5)")
    main.set_ylabel(f"number of {KINDS[KIND].name}")
    main.set_title(f"layer {last}, {strength_name(strength)}")
    counts = _counts(readings, pd.read_csv(paper), last, strength, gamma)
    font = {"ha": "right", "va": "top", "size": 7, "linespacing": 1.4}
    main.text(0.985, 0.97, counts, transform=main.transAxes, **font)
    main.legend(loc="upper left", bbox_to_anchor=(0.16, 1.0))
    if n_rows:
        axes = panel_grid(bottom, len(others), n_columns, sharex=True, sharey=True)
        steerable = reading(readings, "n_steerable", kind=KIND, strength=strength, threshold=gamma)
        small = list(axes.ravel()[: len(others)])
        for ax, layer in zip(small, others, strict=True):
            _histogram(ax, rows[rows.layer == layer], gamma)
            found = [
                f": {row.value:,.0f} ({row.value / row.n_units:.1%})"
                for row in steerable[steerable.layer == layer].itertuples()
            ]
            ax.set_title(f"layer {layer}{''.join(found)}", size=7)
        small[0].set_ylim(0.5, _top(rows))
        for ax in small[-n_columns:]:  # the lowest of each column
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("S")
    return figure


def _histogram(ax: Axes, rows: pd.DataFrame, gamma: float) -> None:
    """Draw one layer's histogram with a logarithmic count and a line at γ; dead units pale on top.

    `rows`: of one layer, kind and strength.
    """
    rows = rows.sort_values("s_low")
    edges = bin_edges(rows, "s_low", "s_high")
    # On a logarithmic axis a bar needs a foot: half a unit, so that one unit can be seen.
    for name, colour, label in (("n_units", _DEAD, "dead"), ("n_alive", _ALIVE, "alive")):
        bars = {"baseline": 0.5, "fill": True, "color": colour, "label": label}
        ax.stairs(rows[name].clip(lower=0.5), edges, **bars)
    ax.set_yscale("log")
    ax.set_ylim(0.5, _top(rows))
    ax.set_xlim(0, edges[-1])
    ax.axvline(gamma, color=theme.CLS, lw=1.0, label=f"γ = {gamma:g}")


def _top(rows: pd.DataFrame, headroom: float = 1.0) -> float:
    """Return the upper end of a logarithmic axis of counts from 0.5.

    `headroom` is the share of its height that the bars above S = 0.1, where words stand, may take.
    """
    high = rows.loc[rows.s_low > 0.1, "n_units"].max()
    return max(2.0, 2.0 * rows.n_units.max(), 0.5 * (2 * max(high, 1)) ** (1 / headroom))


def _counts(
    layers: pd.DataFrame, paper: pd.DataFrame, layer: int, strength: float, gamma: float
) -> str:
    """Return the numbers in the corner: ours with intervals, the paper's below.

    E.g. `S > 0.1: 1,322 [1,290, 1,350] of 12,000 (11.0%)`.
    """
    lines = []
    for quantity, threshold, sign in (("n_steerable", gamma, ">"), ("n_perfect", PERFECT, "≥")):
        rows = reading(layers, quantity, kind=KIND, strength=strength, threshold=threshold)
        for row in rows[rows.layer == layer].itertuples():
            interval = "" if pd.isna(row.low) else f" [{row.low:,.0f}, {row.high:,.0f}]"
            share = f"of {row.n_units:,.0f} ({row.value / row.n_units:.1%})"
            lines.append(f"S {sign} {threshold:g}: {row.value:,.0f}{interval} {share}")
        theirs = paper_value(paper, quantity, KIND)
        if theirs is not None:
            about = "about " if theirs.approximate else ""
            share = theirs.value / theirs.n_units
            lines.append(
                f"paper, CLIP-ViT-B/32, layer {theirs.layer}: {about}{theirs.value:,.0f} of "
                f"{theirs.n_units:,.0f} ({share:.1%})"
            )
    return "\n".join(lines)


# --- the spread of words --------------------------------------------------------------------------


def steerability_dispersion(job, *, units: Path, layers: Path, strength: float) -> Figure:
    """Draw S against three measures of spread at the last layer, and their correlations by layer.

    The measures: as printed, as in the authors' code, and around the unit's own centroid.
    """
    table = read_table(units, usecols=[*UNIT_COLUMNS, *MEASURES])
    readings = read_table(layers)
    kinds_of(table)
    rows = at_strength(table, strength, KIND)
    last = rows.layer.max()
    rows = rows[rows.layer == last]
    figure = theme.new_figure(theme.PAGE_WIDTH, 2.6)
    axes = figure.subplots(1, 4)
    colours = (theme.PATCH, theme.CLS, theme.REFERENCE)
    for ax, (measure, label), colour in zip(axes, MEASURES.items(), colours, strict=False):
        _scatter(ax, rows, measure)
        ax.set_xlabel(label)
        quantity = f"{measure}_rank_correlation"
        found = reading(readings, quantity, kind=KIND, strength=strength)
        for row in found[found.layer == last].itertuples():
            interval = "" if pd.isna(row.low) else f" [{row.low:.2f}, {row.high:.2f}]"
            ax.set_title(f"ρ = {row.value:.2f}{interval}", size=7)
        if ax is not axes[0]:
            ax.sharey(axes[0])
            ax.tick_params(labelleft=False)
        if len(found):
            line = {"colour": colour, "marker": "o", "label": label}
            band(axes[3], found.layer, found.value, found.low, found.high, **line)
    axes[0].set_ylabel("steerability S")
    axes[3].axhline(0, color=theme.GREY, lw=0.7)
    axes[3].set_ylim(-1.05, 1.05)
    axes[3].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[3].set_xlabel("layer")
    axes[3].set_title("rank correlation with S")
    axes[3].grid(axis="y")
    marks = [mark for ax in (axes[0], axes[3]) for mark in ax.get_legend_handles_labels()[0]]
    figure.legend(handles=marks, loc="outside lower left", ncols=len(marks), markerscale=1.5)
    letters(axes)
    text = f"a–c: layer {last}, {len(rows):,} units, {strength_name(strength)}; d: all layers."
    heading(figure, f"{text} Intervals: 95 % over images", size=7.5)
    return figure


def _scatter(ax: Axes, units: pd.DataFrame, measure: str) -> None:
    """Draw a dot per unit, S against one measure of spread; dead units pale."""
    alive = units.alive.astype(bool)
    for rows, colour, alpha, label in (
        (units[~alive], "#BBBBBB", 0.5, "dead"),
        (units[alive], theme.PATCH, 0.4, "alive"),
    ):
        # As an image, tens of thousands of dots do not make the SVG tens of megabytes.
        dots = {"s": 5, "linewidths": 0, "rasterized": True}
        ax.scatter(rows[measure], rows.steerability, color=colour, alpha=alpha, label=label, **dots)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid()

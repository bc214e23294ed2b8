"""The words that the units of a layer reach: latents against neurons and other directions.

Steering paper, Section 6.2.3, Eqs 7 and 8 and Fig. 7. The paper compares a quarter of 49,152
latents with a quarter of 768 neurons, so more units reach more words: one panel counts words per
unit, and neurons are also pushed as far as latents are. Random directions, PCA directions of equal
norm and the latents of an untrained SAE, beyond the paper, show what any direction of that length
would do. Tables: steerability_layers.csv, _rarefaction.csv and _histogram.csv.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from clip_sae.analyses.steering.draw_shared import (
    DARK,
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
from clip_sae.plotting.panels import band, bin_edges, heading, letters, percent_axis

QUARTER = 0.25  # of the units: the paper's sample


def fig7(
    job, *, layers: Path, rarefaction: Path, paper: Path, strength: float, gamma: float
) -> Figure:
    """Draw Fig. 7: words reached and steerable units by layer; at the last layer, words over the
    threshold and per unit.

    Kinds that were not measured are left out.
    """
    table = read_table(layers)
    present = kinds_of(table)
    kinds = [kind for kind in ("latent", "neuron", "neuron_equal_push") if kind in present]
    last = int(table[table.kind == kinds[0]].layer.max())
    figure = theme.new_figure(theme.PAGE_WIDTH, 5.0)
    axes = figure.subplots(2, 2)
    by_layer, by_level = axes[:, 0]
    _by_layer(by_layer, table, "concept_coverage", strength, gamma, kinds)
    n_words = int(table.n_words.iloc[0])
    by_layer.set_ylabel(f"words reached, of {n_words:,}")
    references = _mark_paper(by_layer, pd.read_csv(paper), kinds, n_words)
    by_layer.set_title(f"words of units with S > {gamma:g}")
    _three_panels(axes, table, read_table(rarefaction), last, strength, gamma, kinds)
    by_level.axvline(gamma, color="black", lw=0.8, ls="--")
    handles = [_mark(kind, KINDS[kind].name) for kind in kinds] + [_quarter_mark()]
    if references:
        label = f"paper, layer 11, a quarter of the units: {', '.join(references)}"
        handles.append(Line2D([], [], color=DARK, ls="--", lw=0.9, label=label))
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    _say_intervals(figure, table[table.kind.isin(kinds)], strength)
    return figure


def steerability_baselines(
    job, *, histogram: Path, layers: Path, rarefaction: Path, strength: float, gamma: float
) -> Figure:
    """Draw the steerability of every kind of unit, and the words reached over β and per unit.

    All panels but the steerable share by layer show the last layer.
    """
    counts, table = at_strength(read_table(histogram), strength), read_table(layers)
    kinds = kinds_of(table)
    last = counts.layer.max()
    counts = counts[counts.layer == last]
    figure = theme.new_figure(theme.PAGE_WIDTH, 5.0)
    axes = figure.subplots(2, 2)
    distribution = axes[0, 0]
    _survival(distribution, counts, kinds)
    distribution.axvline(gamma, color="black", lw=0.7, zorder=0)
    distribution.set_title(f"layer {last}: share of units above S")
    _three_panels(axes, table, read_table(rarefaction), last, strength, gamma, kinds)
    handles = []
    for kind in kinds:
        n, name = counts[counts.kind == kind].n_units.sum(), KINDS[kind].name
        handles.append(_mark(kind, f"{name} ({n:,})" if n else name))
    handles.append(_quarter_mark())
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    _say_intervals(figure, table, strength)
    return figure


def _three_panels(
    axes: np.ndarray,
    layers: pd.DataFrame,
    rarefaction: pd.DataFrame,
    last: int,
    strength: float,
    gamma: float,
    kinds: Sequence[str],
) -> None:
    """Draw the panels that both figures have: steerable share by layer, words over β, per unit."""
    (_, share), (by_level, by_unit) = axes
    for threshold, line in ((gamma, "-"), (PERFECT, ":")):
        _by_layer(share, layers, "steerable_fraction", strength, threshold, kinds, ls=line)
    percent_axis(share.yaxis)
    share.set_title(f"share of units: S > {gamma:g} (solid), S > {PERFECT:g} (dotted)")
    _by_threshold(by_level, layers[layers.layer == last], strength, kinds)
    by_level.set_ylabel(f"words reached, of {int(layers.n_words.iloc[0]):,}")
    by_level.set_title(f"layer {last}: coverage over β")
    curves = rarefaction[rarefaction.layer.astype(str) == str(last)]  # it may also read "all"
    if curves.empty:
        found = ", ".join(sorted(rarefaction.layer.astype(str).unique()))
        raise ValueError(f"layer {last} has no rarefaction curve; the table has {found}")
    _rarefaction(by_unit, curves, kinds)
    by_unit.set_title(f"layer {last}: coverage per unit, S > {gamma:g}")
    letters(axes.flat)


def _by_layer(
    ax: Axes,
    layers: pd.DataFrame,
    quantity: str,
    strength: float,
    threshold: float,
    kinds: Sequence[str],
    ls: str = "-",
) -> None:
    """Draw one quantity by layer, a line and a band per kind; marks are hollow for samples."""
    for kind in kinds:
        rows = reading(layers, quantity, kind=kind, strength=strength, threshold=threshold)
        if rows.empty:
            continue
        name, colour, marker = KINDS[kind].name, KINDS[kind].colour, KINDS[kind].marker
        band(ax, rows.layer, rows.value, rows.low, rows.high, colour=colour, ls=ls, label=name)
        for sampled, part in rows.groupby(rows.n_units < rows.n_sampled_from):
            marks = {"mfc": "white" if sampled else colour, "mec": colour, "color": colour}
            ax.plot(part.layer, part.value, ls="", marker=marker, **marks)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylim(bottom=0)
    ax.set_xlabel("layer")
    ax.grid(axis="y")


def _by_threshold(ax: Axes, rows: pd.DataFrame, strength: float, kinds: Sequence[str]) -> None:
    """Draw the words reached by units with S > β against β at one layer, a line per kind."""
    coverage = rows[rows.quantity == "concept_coverage"]
    coverage = coverage[coverage.strength.astype(float) == strength]
    for kind in kinds:
        rows, style = coverage[coverage.kind == kind].sort_values("threshold"), KINDS[kind]
        band(
            ax, rows.threshold, rows.value, rows.low, rows.high, colour=style.colour,
            marker=style.marker,
        )  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("threshold β: words of units with S > β")
    ax.grid()


def _rarefaction(ax: Axes, curves: pd.DataFrame, kinds: Sequence[str]) -> None:
    """Draw the words that n units drawn at random reach, in expectation, a line per kind.

    The band holds 95 % of random samples. A diamond marks a quarter of the units measured; the
    paper's sample was a quarter of all.
    """
    for kind in kinds:
        rows, colour = curves[curves.kind == kind].sort_values("n_units"), KINDS[kind].colour
        if rows.empty:
            continue
        band(ax, rows.n_units, rows.expected_coverage, rows.low, rows.high, colour=colour)
        quarter = QUARTER * rows.n_units.max()
        words = np.interp(np.log(quarter), np.log(rows.n_units), rows.expected_coverage)
        ax.plot([quarter], [words], ls="", marker="D", ms=5, mfc="white", mec=colour, mew=1.3)
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("units drawn")
    ax.grid()


def _survival(ax: Axes, counts: pd.DataFrame, kinds: Sequence[str]) -> None:
    """Draw the share of units strictly above each steerability, a line per kind, logarithmic.

    A line ends at the last unit.
    """
    for kind in kinds:
        rows = counts[counts.kind == kind].sort_values("s_low")
        if rows.empty:
            continue
        n_units = rows.n_units.to_numpy()
        share = np.append(n_units[::-1].cumsum()[::-1], 0) / n_units.sum()
        edges, left = bin_edges(rows, "s_low", "s_high"), share > 0
        ax.plot(edges[left], share[left], color=KINDS[kind].colour, lw=1.2)
    ax.set_yscale("log")
    percent_axis(ax.yaxis)
    ax.set_xlim(left=0)
    ax.set_xlabel("steerability S")
    ax.grid()


def _mark_paper(ax: Axes, paper: pd.DataFrame, kinds: Sequence[str], n_words: int) -> list[str]:
    """Draw dashed lines at the paper's shares of its vocabulary; return words for the legend."""
    notes = []
    for kind in kinds:
        row = paper_value(paper, "concept_coverage", kind)
        if row is None:
            continue
        share, style = row.value / row.n_words, KINDS[kind]
        ax.axhline(share * n_words, color=style.colour, ls="--", lw=0.9)
        notes.append(f"{share:.0%} by {style.name.removeprefix('SAE ')}")
    ax.autoscale_view()
    ax.set_ylim(0, 1.08 * max(ax.get_ylim()[1], ax.dataLim.y1))
    return notes


def _mark(kind: str, label: str) -> Line2D:
    """Return the mark of a kind in legends."""
    return Line2D([], [], color=KINDS[kind].colour, marker=KINDS[kind].marker, label=label)


def _quarter_mark() -> Line2D:
    """Return the diamond of `_rarefaction` in legends."""
    label = "a quarter of the units measured"
    return Line2D([], [], ls="", marker="D", mfc="white", mec=DARK, label=label)


def _say_intervals(figure: Figure, layers: pd.DataFrame, strength: float) -> None:
    """Explain bands and hollow marks above the figure; hollow kinds were measured on a sample."""
    rows = layers[layers.strength.astype(float) == strength]
    note = "bands: 95 % intervals over images"
    if (rows.n_units < rows.n_sampled_from).any():
        note += " (hollow: and over the choice of a sample of the units)"
    n_images = int(layers.n_images.iloc[0])
    text = f"{strength_name(strength)}, {n_images:,} images; {note}; d: over samples"
    heading(figure, text, size=7.5)

"""Fig. 7: how many words the units of a layer reach, latents against neurons.

Steering paper, Section 6.2.3, Eqs 7 and 8 and Fig. 7. The paper compares a quarter of 49,152
latents with a quarter of 768 neurons, so more units reach more words: one panel counts words per
unit, and neurons are also pushed as far as latents are. Tables: steerability_layers.csv and
steerability_rarefaction.csv.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from clip_sae.analyses.steering.draw_shared import (
    KINDS,
    kinds_of,
    paper_value,
    percent_axis,
    reading,
    sample_note,
    strength_name,
)
from clip_sae.plotting import theme

_RAREFACTION = ("kind", "label", "layer", "n_units", "expected_coverage", "low", "high")
PERFECT = 0.9  # of the thresholds β: units that move all probability to one word
_DARK = "#444444"
QUARTER = 0.25  # of the units: the paper's sample


def plot_by_layer(
    layers: pd.DataFrame,
    ax: Axes,
    *,
    quantity: str,
    strength: float,
    threshold: float,
    kinds: list[str],
    ls: str = "-",
) -> Axes:
    """Draw one quantity by layer, a line and a band per kind; marks are hollow for samples.

    `layers`: the layer table. A kind that was not measured is left out.
    """
    for kind in kinds:
        rows = reading(layers, quantity, kind=kind, strength=strength, threshold=threshold)
        name, colour, marker = KINDS[kind]
        if rows.empty:
            continue
        ax.plot(rows.layer, rows.value, color=colour, ls=ls, label=name)
        ax.fill_between(rows.layer, rows.low, rows.high, color=colour, alpha=0.22, linewidth=0)
        for sampled, part in rows.groupby(rows.n_units < rows.n_sampled_from):
            face = "white" if sampled else colour
            ax.plot(
                part.layer, part.value, ls="", marker=marker, mfc=face, mec=colour, color=colour
            )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylim(bottom=0)
    ax.set_xlabel("layer")
    ax.grid(axis="y")
    return ax


def plot_share(
    layers: pd.DataFrame, ax: Axes, *, strength: float, gamma: float, kinds: list[str]
) -> Axes:
    """Draw the share of steerable units by layer, and dotted that of units with S > 0.9."""
    place = {"quantity": "steerable_fraction", "strength": strength, "kinds": kinds}
    plot_by_layer(layers, ax, **place, threshold=gamma)
    plot_by_layer(layers, ax, **place, threshold=PERFECT, ls=":")
    percent_axis(ax.yaxis)
    ax.set_title(f"share of units: S > {gamma:g} (solid), S > {PERFECT:g} (dotted)")
    return ax


def plot_by_threshold(
    layers: pd.DataFrame, ax: Axes, *, layer: int, strength: float, kinds: list[str]
) -> Axes:
    """Draw the words reached by units with S > β against β at one layer, a line per kind.

    `layers`: the layer table, of which the thresholds of concept_coverage are drawn.
    """
    for kind in kinds:
        rows = layers[
            (layers.quantity == "concept_coverage")
            & (layers.kind == kind)
            & (layers.layer == layer)
            & (layers.strength.astype(float) == strength)
        ].sort_values("threshold")
        _, colour, marker = KINDS[kind]
        ax.plot(rows.threshold, rows.value, color=colour, marker=marker)
        ax.fill_between(rows.threshold, rows.low, rows.high, color=colour, alpha=0.22, linewidth=0)
    ax.set_xlim(0, 1)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("threshold β: words of units with S > β")
    ax.grid()
    return ax


def plot_rarefaction(curves: pd.DataFrame, ax: Axes, *, kinds: list[str]) -> Axes:
    """Draw the words that n units drawn at random reach, in expectation, a line and band per kind.

    `curves`: columns kind, n_units, expected_coverage, low, high, of one layer; the band holds 95 %
    of random samples. A diamond stands at a quarter of the units measured; the paper's sample was
    a quarter of all.
    """
    theme.require_columns(curves, _RAREFACTION, "the rarefaction curves")
    for kind in kinds:
        rows = curves[curves.kind == kind].sort_values("n_units")
        if rows.empty:
            continue
        _, colour, _ = KINDS[kind]
        ax.plot(rows.n_units, rows.expected_coverage, color=colour)
        ax.fill_between(rows.n_units, rows.low, rows.high, color=colour, alpha=0.22, linewidth=0)
        quarter = QUARTER * rows.n_units.max()
        words = np.interp(np.log(quarter), np.log(rows.n_units), rows.expected_coverage)
        ax.plot([quarter], [words], ls="", marker="D", ms=5, mfc="white", mec=colour, mew=1.3)
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("units drawn")
    ax.grid()
    return ax


def quarter_mark() -> Line2D:
    """The legend's diamond for `plot_rarefaction`."""
    label = "a quarter of the units measured"
    return Line2D([], [], ls="", marker="D", mfc="white", mec=_DARK, label=label)


def curves_of_layer(curves: pd.DataFrame, layer: int) -> pd.DataFrame:
    """Rarefaction curves of one layer; the table's layer may also read "all"."""
    rows = curves[curves.layer.astype(str) == str(layer)]
    if rows.empty:
        found = ", ".join(sorted(curves.layer.astype(str).unique()))
        raise ValueError(f"no rarefaction curve is of layer {layer}; the table has {found}")
    return rows


def draw_coverage(
    layers: pd.DataFrame,
    rarefaction: pd.DataFrame,
    paper: pd.DataFrame,
    *,
    strength: float,
    gamma: float,
) -> Figure:
    """Return Fig. 7: words reached and share of steerable units by layer; at the last layer, words
    over the threshold and words per unit.

    `layers`: the layer table; `rarefaction`: columns kind, label, layer, n_units,
    expected_coverage, low, high; `paper`: resources/paper/steering.csv. Kinds that were not
    measured are left out.
    """
    present = kinds_of(layers)
    kinds = [kind for kind in ("latent", "neuron", "neuron_equal_push") if kind in present]
    last = int(layers[layers.kind == kinds[0]].layer.max())
    figure = theme.new_figure(theme.PAGE_WIDTH, 5.0)
    (by_layer, share), (by_level, by_unit) = figure.subplots(2, 2)
    place = {"strength": strength, "threshold": gamma, "kinds": kinds}
    plot_by_layer(layers, by_layer, quantity="concept_coverage", **place)
    n_words = int(layers.n_words.iloc[0])
    by_layer.set_ylabel(f"words reached, of {n_words:,}")
    references = _mark_paper(by_layer, paper, kinds, n_words)
    by_layer.set_title(f"words of units with S > {gamma:g}")
    plot_share(layers, share, strength=strength, gamma=gamma, kinds=kinds)
    plot_by_threshold(layers, by_level, layer=last, strength=strength, kinds=kinds)
    by_level.axvline(gamma, color="black", lw=0.8, ls="--")
    by_level.set_ylabel(f"words reached, of {n_words:,}")
    by_level.set_title(f"layer {last}: coverage over β")
    plot_rarefaction(curves_of_layer(rarefaction, last), by_unit, kinds=kinds)
    by_unit.set_title(f"layer {last}: coverage per unit, S > {gamma:g}")
    for ax, name in zip((by_layer, share, by_level, by_unit), "abcd", strict=True):
        theme.letter(ax, name)
    _legend(figure, layers, kinds, references, strength=strength, gamma=gamma)
    return figure


def _mark_paper(ax: Axes, paper: pd.DataFrame, kinds: list[str], n_words: int) -> list[str]:
    """Dashed lines at the paper's shares of its vocabulary; returns words for the legend."""
    notes = []
    for kind in kinds:
        row = paper_value(paper, "concept_coverage", kind)
        if row is None:
            continue
        name, colour, _ = KINDS[kind]
        ax.axhline(row.value / row.n_words * n_words, color=colour, ls="--", lw=0.9)
        notes.append(f"{row.value / row.n_words:.0%} by {name.removeprefix('SAE ')}")
    ax.autoscale_view()
    ax.set_ylim(0, 1.08 * max(ax.get_ylim()[1], ax.dataLim.y1))
    return notes


def _legend(figure, layers, kinds, references, *, strength, gamma) -> None:
    """One legend for all panels, and a line that says what the bands and marks mean."""
    handles = [
        Line2D([], [], color=KINDS[kind][1], marker=KINDS[kind][2], label=KINDS[kind][0])
        for kind in kinds
    ]
    handles.append(quarter_mark())
    if references:
        label = f"paper, layer 11, a quarter of the units: {', '.join(references)}"
        handles.append(Line2D([], [], color=_DARK, ls="--", lw=0.9, label=label))
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    rows = layers[layers.kind.isin(kinds) & (layers.strength.astype(float) == strength)]
    n_images = int(layers.n_images.iloc[0])
    figure.suptitle(
        f"{strength_name(strength)}, {n_images:,} images; {sample_note(rows)}; d: over samples",
        x=0.01, ha="left", size=7.5,
    )  # fmt: skip

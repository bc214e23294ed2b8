"""Does the spread of the promoted words tell how steerable a unit is?

Steering paper, App. 11.2, Eqs 10 and 11: the distance of the promoted words from the mean word is
said to go with steerability. It is drawn as printed, as in the authors' code, and around the unit's
own centroid. Tables: steerability_units.csv.gz and steerability_layers.csv.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clip_sae.analyses.steering.draw_shared import UNIT_COLUMNS, kinds_of, reading, strength_name
from clip_sae.plotting import theme

# column of the units, axis label; its rank correlation with S is `<column>_rank_correlation`
MEASURES = (
    ("d_f", "$D_f$ (Eq. 11)"),
    ("d_f_authors", "$D_f$, authors' form"),
    ("dispersion_own", "spread around own centroid"),
)


def plot_dispersion(units: pd.DataFrame, ax: Axes, *, measure: str) -> Axes:
    """Draw a dot per unit, S against one measure of spread; dead units pale.

    `units`: columns steerability, alive and `measure`, of one layer and kind.
    """
    theme.require_columns(units, ["steerability", "alive", measure], "the scatter of dispersion")
    alive = units.alive.astype(bool)
    # As an image, tens of thousands of dots do not make the SVG tens of megabytes.
    dots = {"s": 5, "linewidths": 0, "rasterized": True}
    rest = units[~alive]
    ax.scatter(rest[measure], rest.steerability, color="#BBBBBB", alpha=0.5, label="dead", **dots)
    live = units[alive]
    ax.scatter(
        live[measure], live.steerability, color=theme.PATCH, alpha=0.4, label="alive", **dots
    )
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid()
    return ax


def plot_correlations(layers: pd.DataFrame, ax: Axes, *, strength: float, kind: str) -> Axes:
    """Draw the rank correlation of each measure with S by layer, with its interval."""
    for (measure, label), colour in zip(MEASURES, (theme.PATCH, theme.CLS, theme.REFERENCE),
                                        strict=True):  # fmt: skip
        rows = reading(layers, f"{measure}_rank_correlation", kind=kind, strength=strength)
        if rows.empty:
            continue
        ax.plot(rows.layer, rows.value, color=colour, marker="o", label=label)
        ax.fill_between(rows.layer, rows.low, rows.high, color=colour, alpha=0.22, linewidth=0)
    ax.axhline(0, color=theme.GREY, lw=0.7)
    ax.set_ylim(-1.05, 1.05)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("layer")
    ax.set_title("rank correlation with S")
    ax.grid(axis="y")
    return ax


def draw_dispersion(
    units: pd.DataFrame, layers: pd.DataFrame, *, strength: float, kind: str = "latent"
) -> Figure:
    """Return the scatter of S against three measures of spread at the last layer, all layers right.

    `units`: columns `steering_tables.UNIT_COLUMNS` and of `MEASURES`; `layers`: the layer table.
    """
    theme.require_columns(units, [*UNIT_COLUMNS, *(name for name, _ in MEASURES)], "the scatter")
    kinds_of(units)
    rows = units[(units.kind == kind) & (units.strength.astype(float) == strength)]
    if rows.empty:
        raise ValueError(f"no unit of kind {kind!r} was steered with {strength_name(strength)}")
    last = rows.layer.max()
    rows = rows[rows.layer == last]
    figure = theme.new_figure(theme.PAGE_WIDTH, 2.6)
    axes = figure.subplots(1, 4)
    for ax, (measure, label) in zip(axes, MEASURES, strict=False):
        plot_dispersion(rows, ax, measure=measure)
        ax.set_xlabel(label)
        found = reading(layers, f"{measure}_rank_correlation", kind=kind, strength=strength)
        found = found[found.layer == last]
        if len(found):
            row = found.iloc[0]
            interval = "" if pd.isna(row.low) else f" [{row.low:.2f}, {row.high:.2f}]"
            ax.set_title(f"ρ = {row.value:.2f}{interval}", size=7)
        if ax is not axes[0]:
            ax.sharey(axes[0])
            ax.tick_params(labelleft=False)
    axes[0].set_ylabel("steerability S")
    plot_correlations(layers, axes[3], strength=strength, kind=kind)
    marks = [mark for ax in (axes[0], axes[3]) for mark in ax.get_legend_handles_labels()[0]]
    figure.legend(handles=marks, loc="outside lower left", ncols=len(marks), markerscale=1.5)
    for ax, name in zip(axes, "abcd", strict=True):
        theme.letter(ax, name)
    figure.suptitle(
        f"a–c: layer {last}, {len(rows):,} units, {strength_name(strength)}; d: all layers. "
        "Intervals: 95 % over images",
        x=0.01, ha="left", size=7.5,
    )  # fmt: skip
    return figure

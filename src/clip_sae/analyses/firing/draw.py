"""Firing rates of latents, and training curves of their SAEs.

Steering paper App. 10.1 (dead features); it describes the training and prints no curve.
"""

import math
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from clip_sae.plotting import theme
from clip_sae.plotting.panels import bin_edges, panel_grid, panel_names, plain_log_axis

# column → axis label
METRICS = {
    "loss": "loss",
    "l0": "L0",
    "explained_variance": "explained variance",
    "dead_latents": "dead latents",
}
_LOG = ("loss", "l0")


def firing(job, *, csv: Path) -> Figure:
    """Draw histograms of log10 firing rate: a panel per recipe and variant, a step line per layer.

    Dead latents have no rate: the legends count them.
    """
    table = pd.read_csv(csv)
    panels = panel_names(table)
    recipes = list(dict.fromkeys(panels))
    n_columns = min(len(recipes), 3)
    legend_lines = 1 + math.ceil(table.layer.nunique() / 2)
    figure = theme.new_figure(
        theme.PAGE_WIDTH if n_columns > 1 else 4.2,
        math.ceil(len(recipes) / n_columns) * (2.4 + 0.14 * legend_lines),
    )
    axes = panel_grid(figure, len(recipes), n_columns, sharex=True)
    colours = theme.layer_colours(table.layer)
    for ax, recipe in zip(axes.ravel(), recipes, strict=False):
        _histogram(ax, table[panels == recipe], colours)
        ax.set_title(recipe)
        ax.set_xlabel("log10 firing rate (share of tokens)")
        ax.xaxis.set_tick_params(labelbottom=True)
    for ax in axes[:, 0]:
        ax.set_ylabel("latents")
    return figure


def _histogram(ax: Axes, table: pd.DataFrame, colours: dict[int, tuple]) -> None:
    """Draw one recipe's histogram."""
    for layer, rows in table.groupby("layer"):
        rows = rows.sort_values("log10_rate_low")
        edges = bin_edges(rows, "log10_rate_low", "log10_rate_high")
        dead, d_sae = int(rows.dead_latents.iloc[0]), int(rows.d_sae.iloc[0])
        label = f"{layer}: {dead:,} ({dead / d_sae:.0%})"
        ax.stairs(rows.n_latents, edges, color=colours[layer], label=label, linewidth=1.1)
    ax.set_ylim(bottom=0)
    ax.legend(
        title=f"layer: dead of {d_sae:,} latents",
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        ncols=2,
        columnspacing=1.0,
    )


def training_curves(job, *, csv: Path) -> Figure:
    """Draw curves against tokens seen: a row per metric, a column per recipe and variant."""
    table = pd.read_csv(csv)
    panels = panel_names(table)
    recipes = list(dict.fromkeys(panels))
    colours = theme.layer_colours(table.layer)
    figure = theme.new_figure(max(2.6, 1.2 + 1.75 * len(recipes)), 6.4)
    axes = figure.subplots(len(METRICS), len(recipes), sharex="col", squeeze=False)
    for row, (metric, label) in zip(axes, METRICS.items(), strict=True):
        for ax, recipe in zip(row, recipes, strict=True):
            _curves(ax, table[panels == recipe], metric, colours)
        row[0].set_ylabel(label)
        if metric != "loss":  # losses of different forms have different units
            for ax in row:
                ax.set_ylim(_range(table[metric], metric))
            for ax in row[1:]:
                ax.tick_params(labelleft=False)
    for top, bottom, recipe in zip(axes[0], axes[-1], recipes, strict=True):
        top.set_title(recipe, loc="center")
        bottom.set_xlabel("million tokens")
    handles = [Line2D([], [], color=colour) for colour in colours.values()]
    figure.legend(handles, map(str, colours), title="layer", loc="outside right upper")
    return figure


def _curves(ax: Axes, table: pd.DataFrame, metric: str, colours: dict[int, tuple]) -> None:
    """Draw one metric of one recipe against millions of tokens, a line per layer."""
    for layer, rows in table.groupby("layer"):
        rows = rows.sort_values("tokens")
        ax.plot(rows.tokens / 1e6, rows[metric], color=colours[layer], linewidth=1.1)
    if metric in _LOG and (table[metric] > 0).any():
        plain_log_axis(ax.yaxis)


def _range(values: pd.Series, metric: str) -> tuple[float, float]:
    """Return the range that all panels of a metric share."""
    low, high = float(values.min()), float(values.max())
    if metric == "explained_variance":
        # A first step far below zero would flatten everything after it.
        return max(low, -0.1), 1.0
    if metric == "dead_latents":
        return 0.0, max(1.0, 1.05 * high)
    return 0.9 * low, 1.1 * high

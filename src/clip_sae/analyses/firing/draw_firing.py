"""Firing rates of latents: how many fire how often, and how many never do.

Steering paper App. 10.1 (dead features). Table: `clip_sae.analyses.firing.firing_histogram`.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.plotting import theme

_COLUMNS = ("layer", "log10_rate_low", "log10_rate_high", "n_latents", "dead_latents", "d_sae")


def plot_firing(histogram: pd.DataFrame, ax: Axes, *, colours: dict[int, tuple]) -> Axes:
    """Draw one recipe's histogram of log10 firing rate, a step line per layer.

    `histogram`: columns layer, log10_rate_low, log10_rate_high, n_latents, dead_latents, d_sae.
    Dead latents have no rate: the legend counts them.
    """
    theme.require_columns(histogram, _COLUMNS, "the firing-rate histogram")
    for layer, rows in histogram.groupby("layer"):
        rows = rows.sort_values("log10_rate_low")
        edges = np.append(rows.log10_rate_low, rows.log10_rate_high.iloc[-1])
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
    return ax


def draw_firing(histogram: pd.DataFrame) -> Figure:
    """Return a panel per recipe and variant of firing-rate histograms.

    `histogram`: as `plot_firing`, and the columns recipe and, where there are several, variant.
    """
    theme.require_columns(histogram, ["recipe", *_COLUMNS], "the firing-rate histogram")
    panels = theme.panel_names(histogram)
    recipes = list(dict.fromkeys(panels))
    n_columns = min(len(recipes), 3)
    n_rows = math.ceil(len(recipes) / n_columns)
    width = theme.PAGE_WIDTH if n_columns > 1 else 4.2
    legend_lines = 1 + math.ceil(histogram.layer.nunique() / 2)
    figure = theme.new_figure(width, n_rows * (2.4 + 0.14 * legend_lines))
    axes = figure.subplots(n_rows, n_columns, sharex=True, squeeze=False)
    colours = theme.layer_colours(histogram.layer)
    for ax, recipe in zip(axes.ravel(), recipes, strict=False):
        plot_firing(histogram[panels == recipe], ax, colours=colours)
        ax.set_title(recipe)
        ax.set_xlabel("log10 firing rate (share of tokens)")
        ax.xaxis.set_tick_params(labelbottom=True)
    for ax in axes.ravel()[len(recipes) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("latents")
    return figure

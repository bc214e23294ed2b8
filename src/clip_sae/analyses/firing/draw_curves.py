"""Training curves: loss, L0, explained variance and dead latents against tokens seen.

Steering paper App. 10.1 describes the training; it prints no curve. Table: the SAEs' curve.csv.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from clip_sae.plotting import theme

# column, axis label, log scale
METRICS = (
    ("loss", "loss", True),
    ("l0", "L0", True),
    ("explained_variance", "explained variance", False),
    ("dead_latents", "dead latents", False),
)


def plot_curve(
    curves: pd.DataFrame, ax: Axes, *, metric: str, colours: dict[int, tuple], log: bool = False
) -> Axes:
    """Draw one metric of one recipe against millions of tokens, one line per layer.

    `curves`: columns layer, tokens and `metric`.
    """
    theme.require_columns(curves, ["layer", "tokens", metric], "the training curve")
    for layer, rows in curves.groupby("layer"):
        rows = rows.sort_values("tokens")
        ax.plot(rows.tokens / 1e6, rows[metric], color=colours[layer], linewidth=1.1)
    if log and (curves[metric] > 0).any():
        theme.plain_log_axis(ax.yaxis)
    if metric == "explained_variance":
        # A first step far below zero would flatten everything after it.
        ax.set_ylim(max(float(curves[metric].min()), -0.1), 1.0)
    if metric == "dead_latents":
        ax.set_ylim(bottom=0)
    return ax


def draw_training_curves(curves: pd.DataFrame) -> Figure:
    """Return small multiples: a row per metric, a column per recipe and variant, a line per layer.

    `curves`: columns recipe, layer, tokens, loss, l0, explained_variance, dead_latents, and
    variant where recipes have several.
    """
    names = [metric for metric, _, _ in METRICS]
    theme.require_columns(curves, ["recipe", "layer", "tokens", *names], "the training curves")
    panels = theme.panel_names(curves)
    recipes = list(dict.fromkeys(panels))
    colours = theme.layer_colours(curves.layer)
    figure = theme.new_figure(max(2.6, 1.2 + 1.75 * len(recipes)), 6.4)
    axes = figure.subplots(len(METRICS), len(recipes), sharex="col", squeeze=False)
    for row, (metric, label, log) in enumerate(METRICS):
        for column, recipe in enumerate(recipes):
            rows = curves[panels == recipe]
            plot_curve(rows, axes[row, column], metric=metric, colours=colours, log=log)
        axes[row, 0].set_ylabel(label)
        if metric != "loss":  # losses of different forms are in different units
            _share_range(axes[row], curves[metric], metric)
    for column, recipe in enumerate(recipes):
        axes[0, column].set_title(recipe, loc="center")
        axes[-1, column].set_xlabel("million tokens")
    handles = [Line2D([], [], color=colour) for colour in colours.values()]
    figure.legend(
        handles, [f"{layer}" for layer in colours], title="layer", loc="outside right upper"
    )
    return figure


def _share_range(axes: np.ndarray, values: pd.Series, metric: str) -> None:
    """Give a row of panels one range that holds all its curves."""
    low, high = float(values.min()), float(values.max())
    if metric == "explained_variance":
        low, high = max(low, -0.1), 1.0
    elif metric == "dead_latents":
        low, high = 0.0, max(1.0, 1.05 * high)
    else:
        low, high = 0.9 * low, 1.1 * high
    for ax in axes:
        ax.set_ylim(low, high)
    for ax in axes[1:]:
        ax.tick_params(labelleft=False)

"""Base-to-novel accuracies of the frozen model and its adaptations (PatchSAE §5.1)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.plotting import theme
from clip_sae.plotting.panels import whiskers

GROUPS = {
    "base": "base classes",
    "novel": "novel classes",
    "harmonic_mean": "harmonic mean",
    "all": "all classes together",
}


def accuracies(job, *, accuracies: Path, runs: Path, kinds: Mapping[str, str]) -> Figure:
    """Draw a row of panels per data set, a point per method with its 95 % interval.

    Args:
        runs: table of the accuracies of every seed, drawn as small dots.
        kinds: {method: kind of adaptation}.
    """
    table, runs = pd.read_csv(accuracies), pd.read_csv(runs)
    datasets = list(table["dataset"].unique())
    figure = theme.new_figure(theme.PAGE_WIDTH, 0.5 + 2.1 * len(datasets))
    grid = figure.subplots(len(datasets), len(GROUPS), sharey="row", squeeze=False)
    styles = theme.method_styles(table["method"], kinds)
    for axes, dataset in zip(grid, datasets, strict=True):
        own, own_runs = (rows[rows["dataset"] == dataset] for rows in (table, runs))
        for ax, (group, title) in zip(axes, GROUPS.items(), strict=True):
            in_group = own[own["group"] == group]
            _points(ax, in_group, own_runs.set_index("method")[group], styles)
            for frozen in in_group[in_group["method"].map(kinds) == "none"].itertuples():
                line = {"color": styles[frozen.method].colour, "linewidth": 0.8, "linestyle": ":"}
                ax.axhline(frozen.accuracy, **line, zorder=0)
            ax.set_title(title)
        low = min(own["accuracy_low"].min(), own_runs[list(GROUPS)].min().min())
        axes[0].set_ylim(max(0.0, np.floor((low - 0.05) * 10) / 10), 1.0)
        axes[0].set_ylabel(f"accuracy on {dataset}")
    return figure


def _points(
    ax: Axes, rows: pd.DataFrame, runs: pd.Series, styles: Mapping[str, theme.Style]
) -> None:
    """Draw the methods of one group of classes; `runs`: accuracies of seeds by method."""
    for x, (method, row) in enumerate(rows.set_index("method", drop=False).iterrows()):
        colour = styles[method].colour
        ends = [[end] for end in whiskers(row, "accuracy")]
        ax.errorbar(
            x, row.accuracy, ends, color=colour, marker="o", markersize=5, capsize=2.5,
            linewidth=1.2,
        )  # fmt: skip
        seeds = runs[runs.index == method].to_numpy()
        if len(seeds) > 1:
            ax.scatter(np.full(len(seeds), x + 0.25), seeds, s=7, color=colour, alpha=0.6)
    names = [styles[method].name for method in rows["method"]]
    ax.set_xticks(range(len(rows)), names, rotation=35, ha="right")
    ax.set_xlim(-0.6, len(rows) - 0.4)

"""Base-to-novel accuracies of the frozen model and its adaptations, as a table and as a figure.

PatchSAE §5.1. Tables: from `clip_sae.analyses.adaptation.measure`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.plotting import theme
from clip_sae.plotting.methods import KINDS, method_names
from clip_sae.plotting.tables import Column, Layout

GROUPS = {
    "base": "base classes",
    "novel": "novel classes",
    "harmonic_mean": "harmonic mean",
    "all": "all classes together",
}
LAYOUT = Layout(
    keys=(Column("dataset", "Set"), Column("method", "Method"), Column("group", "Among")),
    columns=(
        Column("n_seeds", "Seeds", 0),
        Column("n_images", "n", 0),
        Column("accuracy", "Accuracy (%)", 1, scale=100),
        Column("gain", "Gain (points)", 1, scale=100),
        Column("sd", "s.d. of seeds (points)", 1, scale=100),
    ),
    caption="Adaptation of {model} with {shots} images of each base class. Base and novel classes "
    "are the two halves of the class list, each told apart among its own; accuracies are means "
    "over seeds, the harmonic mean is that of both means. Gain: over zero-shot, on the same "
    "images. Intervals are 95 % bootstrap over n images and over seeds.",
    source="Protocol: Zhou et al. 2022 (CoCoOp), as in PatchSAE (Lim et al. 2024).",
)


def printed(table: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """The rows with names in print; the frozen model has no gain, and nothing is printed there."""
    theme.require_columns(table, ["method", "group", "accuracy", "gain"], "the adaptation table")
    frozen = table["method"].map(kinds) == "none"
    gains = ["gain", "gain_low", "gain_high"]
    names = method_names(list(table["method"].unique()), kinds)
    return table.assign(
        **{column: table[column].where(~frozen) for column in gains},
        method=table["method"].map(names),
        group=table["group"].map(GROUPS),
    )


def draw_adaptation(table: pd.DataFrame, runs: pd.DataFrame, kinds: Mapping[str, str]) -> Figure:
    """Return the figure: a row of panels per data set, a point per method with its 95 % interval.

    `table`: rows of `summarise` with `dataset`; `runs`: accuracy of every seed, small dots beside.
    """
    wanted = ["dataset", "method", "group", "accuracy", "accuracy_low", "accuracy_high"]
    theme.require_columns(table, wanted, "the adaptation figure")
    datasets = list(table["dataset"].unique())
    figure = theme.new_figure(theme.PAGE_WIDTH, 0.5 + 2.1 * len(datasets))
    grid = figure.subplots(len(datasets), len(GROUPS), sharey="row", squeeze=False)
    names = method_names(list(table["method"].unique()), kinds)
    for axes, dataset in zip(grid, datasets, strict=True):
        own, own_runs = (rows[rows["dataset"] == dataset] for rows in (table, runs))
        for ax, (group, title) in zip(axes, GROUPS.items(), strict=True):
            _panel(ax, own[own["group"] == group], own_runs, group, names, kinds)
            ax.set_title(title)
        low = min(own["accuracy_low"].min(), own_runs[list(GROUPS)].min().min())
        axes[0].set_ylim(max(0.0, np.floor((low - 0.05) * 10) / 10), 1.0)
        axes[0].set_ylabel(f"accuracy on {dataset}")
    return figure


def _panel(
    ax: Axes,
    rows: pd.DataFrame,
    runs: pd.DataFrame,
    group: str,
    names: Mapping[str, str],
    kinds: Mapping[str, str],
) -> None:
    for x, row in enumerate(rows.itertuples()):
        colour = KINDS[kinds[row.method]][1]
        ends = [[row.accuracy - row.accuracy_low], [row.accuracy_high - row.accuracy]]
        ax.errorbar(
            x, row.accuracy, ends, color=colour, marker="o", markersize=5, capsize=2.5,
            linewidth=1.2,
        )  # fmt: skip
        seeds = runs.loc[runs["method"] == row.method, group].to_numpy()
        if len(seeds) > 1:
            ax.scatter(np.full(len(seeds), x + 0.25), seeds, s=7, color=colour, alpha=0.6)
        if kinds[row.method] == "none":
            ax.axhline(row.accuracy, color=colour, linewidth=0.8, linestyle=":", zorder=0)
    ax.set_xticks(range(len(rows)), [names[m] for m in rows["method"]], rotation=35, ha="right")
    ax.set_xlim(-0.6, len(rows) - 0.4)

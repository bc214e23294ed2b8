"""Accuracy against the number of a class's latents that are kept or removed (PatchSAE §4.1)."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.plotting import theme
from clip_sae.plotting.panels import band, letters, plain_log_axis, shared_legend

MEAN = "mean over classes"  # the rows of the mean, in the column `class`
# latents → name, colour
STYLES = {
    "top": ("the class's own", theme.PATCH),
    "other_class": ("another class's", theme.CLS),
    "random": ("random alive ones", theme.GREY),
}
# (edit, error) → title
PANELS = {
    ("keep_only", "keep"): "only k latents, SAE error kept",
    ("keep_only", "drop"): "only k latents, SAE error dropped",
    ("remove", "keep"): "k latents taken out, SAE error kept",
    ("remove", "drop"): "k latents taken out, SAE error dropped",
}
_MOST_LINES = 100  # classes that are drawn one by one; more would be a grey area


def class_concepts(job, *, csv: Path) -> Figure:
    """Draw the curves of keeping only and of removing, each with and without the SAE's error."""
    table = pd.read_csv(csv)
    figure = theme.new_figure(theme.PAGE_WIDTH, 5.2)
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for ax, (edit, error) in zip(axes.flat, PANELS, strict=True):
        _curves(ax, table[(table.edit == edit) & (table.error == error) & (table.k > 0)])
        ax.set_title(PANELS[edit, error])
    letters(axes.flat)
    for ax in axes[1]:
        ax.set_xlabel("k, latents of the class")
    for ax in axes[:, 0]:
        ax.set_ylabel("zero-shot accuracy")
    shared_legend(figure, axes[0, 0])
    return figure


def _curves(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw one edit: the mean over classes with its interval, thin lines for single classes.

    The axis of k is logarithmic, so `rows` have k > 0.
    """
    rows = rows.sort_values("k")
    single = rows[(rows["class"] != MEAN) & (rows.latents == "top")]
    names = single["class"].unique()[:_MOST_LINES]
    for _, curve in single[single["class"].isin(names)].groupby("class", sort=False):
        ax.plot(curve.k, curve.accuracy, color=theme.PATCH, alpha=0.18, linewidth=0.6)
    mean = rows[rows["class"] == MEAN]
    ends = mean[mean.k == mean.k.max()]  # all latents: one run, the same for every choice
    for kind, (name, colour) in STYLES.items():
        curve = mean[mean.latents == kind]
        if curve.empty:
            continue
        curve = pd.concat([curve, ends]).drop_duplicates("k").sort_values("k")
        band(
            ax, curve.k, curve.accuracy, curve.accuracy_low, curve.accuracy_high, colour=colour,
            shade={"alpha": 0.25}, marker="o", markersize=3, label=name,
        )  # fmt: skip
    plain_log_axis(ax.xaxis)
    ax.set_ylim(-0.02, 1.02)
    ax.grid()

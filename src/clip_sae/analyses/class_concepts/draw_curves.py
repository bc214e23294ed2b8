"""Accuracy against the number of a class's latents that are kept or taken out (PatchSAE §4.1).

Table: from `clip_sae.analyses.class_concepts.class_table`.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.plotting import theme
from clip_sae.plotting.tables import Column, Layout, to_markdown

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
_COLUMNS = ["edit", "error", "latents", "k", "class", "accuracy", "accuracy_low", "accuracy_high"]
_MOST_LINES = 100  # classes that are drawn one by one; more would be a grey area


def plot_class_curves(table: pd.DataFrame, ax: Axes, *, edit: str, error: str) -> Axes:
    """Draw one edit: the mean over classes with its interval, thin lines for single classes.

    `table`: columns edit, error, latents, k, class, accuracy and its _low and _high. The axis of k
    is logarithmic; k = 0 has no place on it.
    """
    theme.require_columns(table, _COLUMNS, "the curves of classes")
    rows = table[(table.edit == edit) & (table.error == error) & (table.k > 0)].sort_values("k")
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
        ax.fill_between(curve.k, curve.accuracy_low, curve.accuracy_high, color=colour, alpha=0.25)
        ax.plot(curve.k, curve.accuracy, color=colour, marker="o", markersize=3, label=name)
    theme.plain_log_axis(ax.xaxis)
    ax.set(ylim=(-0.02, 1.02), title=PANELS[edit, error])
    ax.grid()
    return ax


def draw_class_concepts(table: pd.DataFrame) -> Figure:
    """Return the figure: keep only and remove, each with and without the SAE's error."""
    figure = theme.new_figure(theme.PAGE_WIDTH, 5.2)
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for ax, letter, (edit, error) in zip(axes.flat, "abcd", PANELS, strict=True):
        plot_class_curves(table, ax, edit=edit, error=error)
        theme.letter(ax, letter)
    for ax in axes[1]:
        ax.set_xlabel("k, latents of the class")
    for ax in axes[:, 0]:
        ax.set_ylabel("zero-shot accuracy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def class_concepts_markdown(
    table: pd.DataFrame, *, model: str, sae: str, layer: int, threshold: float, random_seeds: int
) -> str:
    """Return the means over classes as a Markdown table; the keywords are for its caption."""
    theme.require_columns(table, [*_COLUMNS, "n_images", "over_random"], "the table of classes")
    mean = table[table["class"] == MEAN]
    rows = mean[mean.latents == "top"].copy()
    for kind in ("other_class", "random"):
        other = mean[mean.latents == kind].set_index(["edit", "error", "k"])
        at = pd.MultiIndex.from_frame(rows[["edit", "error", "k"]])
        for end in ("", "_low", "_high"):
            rows[kind + end] = other[f"accuracy{end}"].reindex(at).to_numpy()
    order = {edit: i for i, edit in enumerate(PANELS)}
    rows["order"] = [order[pair] for pair in zip(rows.edit, rows.error, strict=True)]
    rows = rows.sort_values(["order", "k"])
    rows["edit"] = rows.edit.map({"keep_only": "only k kept", "remove": "k taken out"})
    rows["error"] = rows.error.map({"keep": "stays", "drop": "dropped"})
    percent = {"digits": 1, "scale": 100}
    n_classes = table["class"].nunique() - 1
    layout = Layout(
        keys=(Column("edit", "Latents"), Column("error", "SAE's error"), Column("k", "k", 0)),
        columns=(
            Column("accuracy", "The class's own", **percent),
            Column("other_class", "Another class's", **percent),
            Column("random", "Random alive", **percent),
            Column("over_random", "Own − random", **percent),
        ),
        caption=(
            f"Concepts and classes: zero-shot accuracy of {model} in percent, mean over "
            f"{n_classes} classes, {int(rows.n_images.iloc[0]):,} images, with only or without the "
            f"k latents of the image's class that are above {threshold:g} most often (SAE {sae} at "
            f"layer {layer}, all tokens; counted on the training split) [95 % bootstrap interval, "
            f"images resampled within classes]. Random: mean of {random_seeds} draws of as many "
            "alive latents per class."
        ),
        source="The latents kept are those of the true class: what keeping them gains is not "
        "accuracy that a user could have. PatchSAE: Lim et al. 2024, arXiv 2412.05276, §4.1.",
    )
    return to_markdown(rows, None, layout)

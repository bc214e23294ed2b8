"""The changes that adaptation makes: accuracies of crossings, latents, overlaps.

PatchSAE §5.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.plotting import theme
from clip_sae.plotting.panels import letters, shared_legend, whiskers

# From top to bottom of a panel.
ORDER = (
    "frozen",
    "old_concepts_new_text",
    "old_concepts_new_blocks",
    "old_concepts_new_map",
    "old_residual_new_map",
    "random_change_new_map",
    "random_move_new_map",
    "new_concepts_old_map",
    "new_residual_old_map",
    "random_change_old_map",
    "random_move_old_map",
    "new_concepts_new_text",
    "new_concepts_new_blocks",
    "adapted",
)
# status → colour
STATUS = {"persists": theme.GREY, "appears": theme.REFERENCE, "vanishes": theme.CLS}
# column → name, line; the halves compare other images, half as many, and set no upper limit
REFERENCES = {
    "overlap_halves": ("two halves of the images, before (no ceiling)", "--"),
    "overlap_chance": ("chance", ":"),
}


def changes(job, *, shares: Path, classes: Path, latents: Path, kinds: Mapping[str, str]) -> Figure:
    """Draw crossings, changed latents and overlaps, four panels for each data set.

    `kinds`: {method: kind of adaptation}.
    """
    tables = [pd.read_csv(path) for path in (shares, classes, latents)]
    datasets = list(tables[0]["dataset"].unique())
    figure = theme.new_figure(theme.PAGE_WIDTH, 5.6 * len(datasets))
    parts = np.atleast_1d(figure.subfigures(len(datasets), 1))
    for part, dataset in zip(parts, datasets, strict=True):
        crossed, strongest, changed = (table[table["dataset"] == dataset] for table in tables)
        axes = part.subplots(2, 2, height_ratios=(1.25, 1))
        for ax, half in zip(axes[0], ("base", "novel"), strict=True):
            _crossings(ax, crossed[crossed["classes"] == half], kinds)
            ax.set_title(f"{dataset}: {half} classes")
        axes[0, 1].tick_params(labelleft=False)
        _latent_changes(axes[1, 0], changed)
        _overlaps(axes[1, 1], strongest, kinds)
        letters(axes.flat)
        shared_legend(part, axes[0, 0], "upper")
    return figure


def _crossings(ax: Axes, shares: pd.DataFrame, kinds: Mapping[str, str]) -> None:
    """Draw the accuracy of every crossing with its interval; a colour and a line per method."""
    styles = theme.method_styles(shares["method"], kinds)
    n = len(styles)
    for i, (method, style) in enumerate(styles.items()):
        rows = shares[shares["method"] == method].set_index("cell").reindex(ORDER)
        at = np.arange(len(ORDER)) + (i - (n - 1) / 2) * 0.6 / max(n, 1)
        ax.errorbar(
            rows.accuracy, at, xerr=whiskers(rows, "accuracy"), fmt="o", color=style.colour,
            markersize=2.8, elinewidth=0.9, label=style.name,
        )  # fmt: skip
    titles = shares.drop_duplicates("cell").set_index("cell")["title"]
    ax.set_yticks(range(len(ORDER)), [titles.get(cell, cell) for cell in ORDER])
    ax.set(ylim=(len(ORDER) - 0.5, -0.5), xlabel="accuracy")
    ax.grid(axis="x")


def _latent_changes(ax: Axes, latents: pd.DataFrame) -> None:
    """Draw each strong latent's change of activation against the change of its map to the class."""
    for status, colour in STATUS.items():
        rows = latents[latents["status"] == status]
        ax.scatter(
            rows.activation_after - rows.activation_before, rows.map_after - rows.map_before,
            s=5, color=colour, alpha=0.35, linewidths=0, label=f"{status} ({len(rows):,})",
        )  # fmt: skip
    for line in (ax.axhline, ax.axvline):
        line(0, color="black", linewidth=0.5)
    ax.set(xlabel="change of mean f", ylabel="change of map (logits per f)")
    ax.legend(fontsize="x-small", markerscale=1.5)


def _overlaps(ax: Axes, classes: pd.DataFrame, kinds: Mapping[str, str]) -> None:
    """Draw every class's overlap of strongest latents per method, with halves and chance."""
    styles = theme.method_styles(classes["method"], kinds)
    rng = np.random.default_rng(0)
    for i, (method, style) in enumerate(styles.items()):
        rows = classes[classes["method"] == method]
        spread = rng.uniform(-0.25, 0.25, len(rows))
        ax.scatter(i + spread, rows.overlap, s=6, color=style.colour, alpha=0.4, linewidths=0)
        ax.hlines(rows.overlap.mean(), i - 0.35, i + 0.35, color=style.colour, linewidth=1.6)
    for column, (name, line) in REFERENCES.items():
        value = classes[column].mean()
        ax.axhline(value, color="black", linewidth=0.9, linestyle=line, label=name)
    ax.set_xticks(range(len(styles)), [style.name for style in styles.values()])
    ax.set(ylim=(-0.03, 1.03), ylabel="overlap of strongest latents")
    ax.legend(fontsize="x-small")

"""All latents of an SAE at once: how rare, how strong, how much of one class.

PatchSAE Fig. 3: log10 sparsity against mean activation, coloured by label entropy.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from clip_sae.plotting import theme

_COLUMNS = ["kind", "log10_sparsity", "mean_activation", "label_entropy_normalised"]
KINDS = {"latent": ("SAE latents", theme.PATCH), "neuron": ("neurons", theme.GREY)}


def plot_concepts(table: pd.DataFrame, ax: Axes) -> PathCollection:
    """Draw the latents of a concept table; those without an entropy in grey.

    Dead latents have no place on the axes. Returns the coloured points, for a colour bar.
    """
    theme.require_columns(table, _COLUMNS, "the concept figure")
    latents = table[(table["kind"] == "latent") & table["log10_sparsity"].notna()]
    known = latents["label_entropy_normalised"].notna()
    few = latents[~known]
    ax.scatter(few["log10_sparsity"], few["mean_activation"], s=5, color="#cccccc", linewidths=0)
    # Clear latents are few: drawn last, on top.
    shown = latents[known].sort_values("label_entropy_normalised", ascending=False)
    points = ax.scatter(
        shown["log10_sparsity"],
        shown["mean_activation"],
        c=shown["label_entropy_normalised"],
        cmap="viridis",
        vmin=0,
        vmax=1,
        s=7,
        linewidths=0,
    )
    theme.plain_log_axis(ax.yaxis)
    ax.set_xlabel("log$_{10}$ sparsity (share of images on which a latent is active)")
    ax.set_ylabel("mean activation where active")
    ax.grid()
    return points


def plot_entropies(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw, for latents and for neurons, the share of units of at most each label entropy."""
    for kind, (name, colour) in KINDS.items():
        values = table.loc[table["kind"] == kind, "label_entropy_normalised"].dropna()
        if len(values):
            ordered = np.sort(values.to_numpy())
            share = np.arange(1, len(ordered) + 1) / len(ordered)
            ax.step(
                np.concatenate([[0.0], ordered, [1.0]]),
                np.concatenate([[0.0], share, [1.0]]),
                where="post",
                color=colour,
                label=f"{name} ({len(values):,})",
            )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    ax.set_xlabel("label entropy, normalised")
    ax.set_ylabel("share of units")
    ax.legend(loc="upper left")
    ax.grid()
    return ax


def draw_concepts_scatter(table: pd.DataFrame, *, title: str, top_images: int) -> Figure:
    """Return the scatter of all latents beside the distribution of their label entropies."""
    figure = theme.new_figure(theme.PAGE_WIDTH, 3.1)
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
    points = plot_concepts(table, left)
    bar = figure.colorbar(points, ax=left, pad=0.02)
    bar.set_label(f"label entropy of the top {top_images} images,\n0 one class, 1 all different")
    bar.outline.set_visible(False)
    latents = table[table["kind"] == "latent"]
    dead = int(latents["log10_sparsity"].isna().sum())
    few = int((latents["log10_sparsity"].notna() & latents["label_entropy"].isna()).sum())
    left.set_title(f"{len(latents):,} latents, {dead:,} dead (not shown), {few:,} too rare (grey)")
    right.set_title("of one class, or of many")
    plot_entropies(table, right)
    for ax, letter in ((left, "a"), (right, "b")):
        theme.letter(ax, letter)
    figure.suptitle(title, x=0.01, ha="left", size=9)
    return figure

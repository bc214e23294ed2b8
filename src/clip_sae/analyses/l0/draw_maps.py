"""L0 over the image: the patch map, the box plot per position, the layers beside GPT-2.

Steering paper, Fig. 4 a, b, c and Fig. 8. Tables come from `clip_sae.analyses.l0.measure`.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from clip_sae.plotting import theme

_TOKEN_COLUMNS = ("layer", "token", "token_type", "row", "column")


def plot_map(
    by_token: pd.DataFrame,
    ax: Axes,
    *,
    value: str = "mean_l0",
    limits: tuple[float, float] | None = None,
    cmap: str = "viridis",
) -> AxesImage:
    """Draw one layer's patch map (Fig. 4 a) with the CLS token's value below; return the image.

    `by_token`: rows of one layer with columns layer, token, token_type, row, column and `value`
    (e.g. mean_l0, l0, mean_norm). `limits` fixes the colour scale across panels.
    """
    theme.require_columns(by_token, [*_TOKEN_COLUMNS, value], "the map")
    if by_token.layer.nunique() > 1:
        raise ValueError(
            f"a map shows one layer, the table holds {sorted(by_token.layer.unique())}"
        )
    patches = by_token[by_token.token_type == "patch"]
    grid = patches.pivot(index="row", columns="column", values=value).to_numpy()
    low, high = (None, None) if limits is None else limits
    image = ax.imshow(grid, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    cls = by_token.loc[by_token.token_type == "cls", value]
    if len(cls):
        ax.set_xlabel(f"CLS {_number(cls.iloc[0])}", color=theme.CLS, labelpad=2)
    return image


def plot_boxes(by_token: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the spread of L0 over images at CLS and at each patch of one layer (Fig. 4 b).

    `by_token`: columns token, token_type, whisker_low, q25, median, q75, whisker_high. Boxes are
    quartiles, whiskers reach 1.5 interquartile ranges; images beyond them are not drawn.
    """
    columns = ["token", "token_type", "whisker_low", "q25", "median", "q75", "whisker_high"]
    theme.require_columns(by_token, columns, "the box plot")
    parts = {"whislo": "whisker_low", "q1": "q25", "med": "median", "q3": "q75"}
    parts["whishi"] = "whisker_high"
    for token_type, colour in (("patch", theme.PATCH), ("cls", theme.CLS)):
        rows = by_token[by_token.token_type == token_type].sort_values("token")
        if rows.empty:
            continue
        boxes = [{key: row[name] for key, name in parts.items()} for _, row in rows.iterrows()]
        ax.bxp(
            boxes,
            positions=rows.token.to_numpy(),
            widths=0.7 if token_type == "patch" else 1.0,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "edgecolor": colour, "alpha": 0.55, "linewidth": 0.6},
            medianprops={"color": "black", "linewidth": 1.0},
            whiskerprops={"color": colour, "linewidth": 0.6},
            capprops={"color": colour, "linewidth": 0.6},
            manage_ticks=False,
        )
    _patch_ticks(ax, by_token)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("L0 (active latents)")
    return ax


def _patch_ticks(ax: Axes, by_token: pd.DataFrame) -> None:
    """Tick CLS and the first patch of each grid row."""
    patches = by_token[by_token.token_type == "patch"].sort_values("token")
    starts = patches[patches.column == 0] if "column" in patches else patches.iloc[:1]
    ticks = [0, *starts.token.iloc[1:]]
    labels = ["CLS", *(str(token - 1) for token in starts.token.iloc[1:])]
    ax.set_xticks(ticks, labels)
    ax.set_xlim(-1.2, by_token.token.max() + 1)
    ax.set_xlabel("patch (ticks start the rows of the grid)")


def plot_by_layer(by_layer: pd.DataFrame, ax: Axes) -> Axes:
    """Draw mean L0 of patches and of CLS by layer beside GPT-2's (Fig. 4 c), log scale.

    `by_layer`: columns layer, patch_l0, cls_l0, their _low and _high, gpt2_l0 (NaN leaves a gap).
    """
    columns = ["layer", "patch_l0", "patch_l0_low", "patch_l0_high", "cls_l0", "cls_l0_low"]
    theme.require_columns(by_layer, [*columns, "cls_l0_high", "gpt2_l0"], "the plot by layer")
    table = by_layer.sort_values("layer")
    series = (
        ("patch_l0", "CLIP patches", theme.PATCH, "o"),
        ("cls_l0", "CLIP CLS", theme.CLS, "s"),
    )
    for name, label, colour, marker in series:
        ax.plot(table.layer, table[name], marker=marker, color=colour, label=label)
        band = (table[f"{name}_low"], table[f"{name}_high"])
        ax.fill_between(table.layer, *band, color=colour, alpha=0.25, linewidth=0)
    ax.plot(
        table.layer, table.gpt2_l0, marker="^", color=theme.REFERENCE, ls="--", label="GPT-2 small"
    )
    theme.plain_log_axis(ax.yaxis)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("layer")
    ax.set_ylabel("mean L0")
    ax.grid(axis="y")
    ax.legend()
    return ax


def draw_l0_figure(by_token: pd.DataFrame, by_layer: pd.DataFrame, *, layer: int) -> Figure:
    """Return Fig. 4: a, the map of `layer`; b, its box plot; c, all layers beside GPT-2."""
    one_layer = by_token[by_token.layer == layer]
    if one_layer.empty:
        raise ValueError(
            f"layer {layer} is not in the table; it holds {sorted(by_token.layer.unique())}"
        )
    figure = theme.new_figure(theme.PAGE_WIDTH, 4.9)
    axes = figure.subplot_mosaic([["a", "c"], ["b", "b"]], height_ratios=[1.25, 1])
    image = plot_map(one_layer, axes["a"])
    bar = figure.colorbar(image, ax=axes["a"], shrink=0.9)
    bar.outline.set_visible(False)
    n_images = int(one_layer.n_images.iloc[0])
    axes["a"].set_title(f"layer {layer}: mean L0 over {n_images:,} images")
    plot_by_layer(by_layer, axes["c"])
    axes["c"].set_title("L0 by layer (band: 95 % interval)")
    plot_boxes(one_layer, axes["b"])
    axes["b"].set_title(f"layer {layer}: L0 of each token over images")
    for name, ax in axes.items():
        theme.letter(ax, name)
    return figure


def draw_l0_maps(
    by_token: pd.DataFrame, *, value: str = "mean_l0", label: str = "mean L0", shared: bool = False
) -> Figure:
    """Return Fig. 8: a map per layer. Each has its own colour scale unless `shared`.

    `by_token`: as `plot_map`, all layers. Own scales show the shape of every layer, which one
    scale would flatten where layers differ by much; the range is written on each panel.
    """
    theme.require_columns(by_token, [*_TOKEN_COLUMNS, value], "the maps")
    layers = sorted(by_token.layer.unique())
    n_columns = min(len(layers), 6 if len(layers) > 4 else 4)
    n_rows = math.ceil(len(layers) / n_columns)
    width = theme.PAGE_WIDTH * max(n_columns, 3) / 6
    figure = theme.new_figure(width, 0.3 + n_rows * 1.42)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    patches = by_token.loc[by_token.token_type == "patch", value]
    limits = (float(np.nanmin(patches)), float(np.nanmax(patches))) if shared else None
    for ax, layer in zip(axes, layers, strict=False):
        rows = by_token[by_token.layer == layer]
        image = plot_map(rows, ax, value=value, limits=limits)
        low, high = image.get_clim() if shared else _range(rows, value)
        span = "" if shared else f"\n{_number(low)} – {_number(high)}"
        ax.set_title(f"layer {layer}{span}", loc="center")
    for ax in axes[len(layers) :]:
        ax.set_visible(False)
    bar = figure.colorbar(image, ax=list(axes), shrink=0.8, aspect=30)
    bar.outline.set_visible(False)
    bar.set_label(label)
    if not shared:
        bar.set_ticks(image.get_clim(), labels=["panel's\nlowest", "panel's\nhighest"])
    return figure


def _range(rows: pd.DataFrame, value: str) -> tuple[float, float]:
    patches = rows.loc[rows.token_type == "patch", value]
    return float(patches.min()), float(patches.max())


def _number(value: float) -> str:
    """Three digits that count, no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

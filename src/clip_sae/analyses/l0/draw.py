"""L0 over the image: the map of patches, the boxes of tokens, the layers next to GPT-2.

Steering paper §5.2, Figs 4 and 8.
"""

import math
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from clip_sae.datasets.manifest import read_manifest
from clip_sae.datasets.pixels import pixels_by_row
from clip_sae.planning.inputs import ImageFiles
from clip_sae.plotting import theme
from clip_sae.plotting.panels import band, colour_bar, letters, panel_grid, plain_log_axis

_BAND = {"alpha": 0.25, "linewidth": 0}
# matplotlib's name of a box's part → column
_BOX = {
    "whislo": "whisker_low",
    "q1": "q25",
    "med": "median",
    "q3": "q75",
    "whishi": "whisker_high",
}


def fig4(job, *, tokens: Path, layers: Path, map_layer: int) -> Figure:
    """Draw Fig. 4: a, the map of one layer; b, its boxes; c, all layers next to GPT-2."""
    by_token = pd.read_csv(tokens)
    rows = by_token[by_token.layer == map_layer]
    if rows.empty:
        found = sorted(by_token.layer.unique())
        raise ValueError(f"layer {map_layer} is not in the table; it holds {found}")
    figure = theme.new_figure(theme.PAGE_WIDTH, 4.9)
    axes = figure.subplot_mosaic([["a", "c"], ["b", "b"]], height_ratios=[1.25, 1])
    colour_bar(figure, _map(axes["a"], rows, "mean_l0"), axes["a"], shrink=0.9)
    n_images = int(rows.n_images.iloc[0])
    axes["a"].set_title(f"layer {map_layer}: mean L0 over {n_images:,} images")
    _by_layer(axes["c"], pd.read_csv(layers).sort_values("layer"))
    axes["c"].set_title("L0 by layer (band: 95 % interval)")
    _boxes(axes["b"], rows)
    axes["b"].set_title(f"layer {map_layer}: L0 of each token over images")
    letters(axes[name] for name in "abc")
    return figure


def fig8(job, *, tokens: Path) -> Figure:
    """Draw Fig. 8: the L0 map of every layer."""
    return _maps(pd.read_csv(tokens), "mean_l0", "mean L0")


def token_norms(job, *, tokens: Path) -> Figure:
    """Draw the map of mean token norms of every layer."""
    return _maps(pd.read_csv(tokens), "mean_norm", "mean token norm")


def l0_image(job, *, image: Path, images: ImageFiles) -> Figure:
    """Draw one image and, on one colour scale, the L0 of its patches at every layer."""
    table = pd.read_csv(image)
    row = int(table["source_index"].iloc[0])
    layers = sorted(table["layer"].unique())
    figure = theme.new_figure(theme.PAGE_WIDTH, 1.75)
    axes = figure.subplots(1, 1 + len(layers))
    axes[0].imshow(pixels_by_row(images, [row])[row])
    axes[0].set_axis_off()
    axes[0].set_title(read_manifest(images.index).loc[row, "label"], loc="center")
    limits = _range(table, "l0")
    for ax, layer in zip(axes[1:], layers, strict=True):
        shown = _map(ax, table[table["layer"] == layer], "l0", limits)
        ax.set_title(f"layer {layer}", loc="center")
    colour_bar(figure, shown, list(axes[1:]), "L0", shrink=0.8)
    return figure


def _maps(by_token: pd.DataFrame, value: str, label: str) -> Figure:
    """Return a map per layer, each with its own colour scale, whose range stands on its panel.

    One scale for all would flatten most layers, which differ by much.
    """
    layers = sorted(by_token.layer.unique())
    n_columns = min(len(layers), 6 if len(layers) > 4 else 4)
    width = theme.PAGE_WIDTH * max(n_columns, 3) / 6
    figure = theme.new_figure(width, 0.3 + math.ceil(len(layers) / n_columns) * 1.42)
    axes = panel_grid(figure, len(layers), n_columns).ravel()
    for ax, layer in zip(axes, layers, strict=False):
        rows = by_token[by_token.layer == layer]
        image = _map(ax, rows, value)
        low, high = _range(rows, value)
        ax.set_title(f"layer {layer}\n{_number(low)} – {_number(high)}", loc="center")
    bar = colour_bar(figure, image, list(axes), label, shrink=0.8, aspect=30)
    bar.set_ticks(image.get_clim(), labels=["panel's\nlowest", "panel's\nhighest"])
    return figure


def _map(ax: Axes, rows: pd.DataFrame, value: str, limits: tuple = (None, None)) -> AxesImage:
    """Draw one layer's map of patches with the CLS token's value below; return the image."""
    patches = rows[rows.token_type == "patch"]
    grid = patches.pivot(index="row", columns="column", values=value).to_numpy()
    low, high = limits
    image = ax.imshow(grid, cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    cls = rows.loc[rows.token_type == "cls", value]
    if len(cls):
        ax.set_xlabel(f"CLS {_number(cls.iloc[0])}", color=theme.CLS, labelpad=2)
    return image


def _boxes(ax: Axes, by_token: pd.DataFrame) -> None:
    """Draw the spread of L0 over images at CLS and at each patch of one layer.

    Boxes are quartiles, whiskers reach 1.5 interquartile ranges; images beyond them are not drawn.
    """
    for token_type, colour in (("patch", theme.PATCH), ("cls", theme.CLS)):
        rows = by_token[by_token.token_type == token_type].sort_values("token")
        if rows.empty:
            continue
        line = {"color": colour, "linewidth": 0.6}
        ax.bxp(
            [{part: row[name] for part, name in _BOX.items()} for _, row in rows.iterrows()],
            positions=rows.token.to_numpy(),
            widths=0.7 if token_type == "patch" else 1.0,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "edgecolor": colour, "alpha": 0.55, "linewidth": 0.6},
            medianprops={"color": "black", "linewidth": 1.0},
            whiskerprops=line,
            capprops=line,
            manage_ticks=False,
        )
    # Ticks: CLS and the first patch of each row of the grid.
    patches = by_token[by_token.token_type == "patch"].sort_values("token")
    starts = patches[patches.column == 0].token.iloc[1:]
    ax.set_xticks([0, *starts], ["CLS", *(str(token - 1) for token in starts)])
    ax.set_xlim(-1.2, by_token.token.max() + 1)
    ax.set_xlabel("patch (ticks start the rows of the grid)")
    ax.set_ylim(bottom=0)
    ax.set_ylabel("L0 (active latents)")


def _by_layer(ax: Axes, table: pd.DataFrame) -> None:
    """Draw mean L0 of patches and of CLS by layer next to GPT-2's, log scale.

    NaN as GPT-2's L0 leaves a gap.
    """
    for name, label, colour, marker in (
        ("patch_l0", "CLIP patches", theme.PATCH, "o"),
        ("cls_l0", "CLIP CLS", theme.CLS, "s"),
    ):
        band(
            ax, table.layer, table[name], table[f"{name}_low"], table[f"{name}_high"],
            colour=colour, shade=_BAND, marker=marker, label=label,
        )  # fmt: skip
    line = {"marker": "^", "color": theme.REFERENCE, "ls": "--", "label": "GPT-2 small"}
    ax.plot(table.layer, table.gpt2_l0, **line)
    plain_log_axis(ax.yaxis)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("layer")
    ax.set_ylabel("mean L0")
    ax.grid(axis="y")
    ax.legend()


def _range(rows: pd.DataFrame, value: str) -> tuple[float, float]:
    """Return the lowest and the highest value of patches."""
    patches = rows.loc[rows.token_type == "patch", value]
    return float(patches.min()), float(patches.max())


def _number(value: float) -> str:
    """Return three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

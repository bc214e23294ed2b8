"""Parts of figures that several questions draw: bands, grids of panels, axes, legends."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

SHADE = {"alpha": 0.22, "linewidth": 0}  # of the band around a line


def band(
    ax: Axes,
    x: Sequence,
    middle: Sequence,
    low: Sequence,
    high: Sequence,
    *,
    colour: str,
    shade: Mapping = SHADE,
    **line: object,
) -> None:
    """Draw a line with the band of its interval; `line`: further options of the line."""
    ax.plot(x, middle, color=colour, **line)
    ax.fill_between(x, low, high, color=colour, **shade)


def whiskers(rows: pd.DataFrame, name: str) -> tuple[pd.Series, pd.Series]:
    """Return the distances of <name>_low and <name>_high from <name>, for error bars."""
    return rows[name] - rows[f"{name}_low"], rows[f"{name}_high"] - rows[name]


def bin_edges(rows: pd.DataFrame, low: str, high: str) -> np.ndarray:
    """Return the edges of sorted bins whose ends stand in the columns `low` and `high`."""
    return np.append(rows[low], rows[high].iloc[-1])


# --- panels ---------------------------------------------------------------------------------------


def panel_grid(part: Figure | SubFigure, n: int, n_columns: int, **options: object) -> np.ndarray:
    """Return a grid [row, column] of at least n panels; those after the first n are invisible."""
    n_rows = math.ceil(n / n_columns)
    axes = part.subplots(n_rows, n_columns, squeeze=False, **options)
    for ax in axes.ravel()[n:]:
        ax.set_visible(False)
    return axes


def panel_names(table: pd.DataFrame) -> pd.Series:
    """Name each row's panel: its recipe, and on a second line its variant if it has one.

    `recipe` may already be "recipe/variant"; a column `variant` is then not needed, and "base" is
    the variant of a recipe without others.
    """
    names = table.recipe
    if "variant" in table:
        pairs = zip(table.recipe, table.variant, strict=True)
        whole = [r if v == "base" or r.endswith(f"/{v}") else f"{r}/{v}" for r, v in pairs]
        names = pd.Series(whole, index=table.index)
    return names.str.replace("/", "\n")


def letters(axes: Iterable[Axes]) -> None:
    """Put the letters a, b, c … left of the panels' title lines."""
    for ax, text in zip(axes, "abcdefgh", strict=False):
        ax.text(
            -0.02, 1.0, text, transform=ax.transAxes, ha="right", va="bottom", weight="bold",
            size=10,
        )  # fmt: skip


def heading(figure: Figure | SubFigure, text: str, **font: object) -> None:
    """Write a line above all panels, from the left edge."""
    figure.suptitle(text, x=0.01, ha="left", **font)


def shared_legend(part: Figure | SubFigure, ax: Axes, side: str = "lower") -> None:
    """Put the legend of one panel outside all of them, in rows of at most seven entries."""
    handles, labels = ax.get_legend_handles_labels()
    part.legend(handles, labels, loc=f"outside {side} center", ncols=min(len(labels), 7))


def colour_bar(
    figure: Figure, image: object, ax: object, label: str = "", **size: float
) -> Colorbar:
    """Draw the colour scale of an image next to one or several panels, without a frame."""
    bar = figure.colorbar(image, ax=ax, **size)
    bar.outline.set_visible(False)
    bar.set_label(label)
    return bar


# --- axes -----------------------------------------------------------------------------------------


def plain_log_axis(axis: Axis) -> None:
    """Make an axis logarithmic with plain numbers at 1, 2 and 5 of each decade."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def percent_axis(axis: Axis) -> None:
    """Print an axis of shares in plain percent: 100 %, 2.5 %, 0.01 %."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g} %"))


def power(value: float) -> str:
    """Return a short power-of-ten label: 1e-3, 3.2e-4."""
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e")

"""Sizes, colours and labels that all figures share, and the one function that saves them.

Colours are Okabe and Ito's, told apart with every common colour blindness; maps use viridis.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

PAGE_WIDTH = 7.0  # inches
PATCH, CLS, REFERENCE, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"


def use_style(path: Path) -> None:
    """Apply the style sheet (workflow/resources/style.mplstyle) to all figures drawn after it."""
    mpl.style.use(path)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that lays out its own panels and belongs to no window."""
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, *paths: Path) -> None:
    """Write the figure to each path, format by suffix; no time stamp, so equal data, equal file.

    Each file is whole or not there: it is drawn under another name and renamed.
    """
    for path in map(Path, paths):
        # Only SVG writes a date by itself; None leaves it out.
        metadata = {"Date": None} if path.suffix == ".svg" else None
        partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        try:
            figure.savefig(partial, metadata=metadata)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def layer_colours(layers: Sequence[int]) -> dict[int, tuple]:
    """One colour per layer, dark (early) to light (late), never as light as the paper."""
    layers = sorted(set(layers))
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.88, len(layers)))
    return {layer: tuple(shade) for layer, shade in zip(layers, shades, strict=True)}


def letter(ax: Axes, text: str) -> None:
    """Put a panel letter left of the title line."""
    ax.text(
        -0.02, 1.0, text, transform=ax.transAxes, ha="right", va="bottom", weight="bold", size=10
    )


def plain_log_axis(axis: Axis) -> None:
    """Make an axis logarithmic with plain numbers at 1, 2 and 5 of each decade."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def power(value: float) -> str:
    """A short power-of-ten label: 1e-3, 3.2e-4."""
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e")


def panel_names(table: pd.DataFrame) -> pd.Series:
    """Name each row's panel: its recipe, and on a second line its variant if it has one.

    `recipe` may already be "recipe/variant"; a column `variant` is then not needed, and "base" is
    the variant of a recipe that has no other.
    """
    names = table.recipe
    if "variant" in table:
        pairs = zip(table.recipe, table.variant, strict=True)
        whole = [r if v == "base" or r.endswith(f"/{v}") else f"{r}/{v}" for r, v in pairs]
        names = pd.Series(whole, index=table.index)
    return names.str.replace("/", "\n")


def require_columns(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Refuse a table that lacks a column or holds no row."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(
            f"{what} needs the column {missing[0]!r}; the table has {', '.join(table.columns)}"
        )
    if table.empty:
        raise ValueError(f"{what} needs at least one row; the table is empty")

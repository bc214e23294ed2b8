"""The learning-rate × sparsity sweep: three maps over the log grid, and the trade-off they show.

Steering paper App. 10.1.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from clip_sae.plotting import theme
from clip_sae.plotting.panels import power

# column → panel title, number format
GRIDS = {
    "explained_variance": ("explained variance", "{:.2f}"),
    "l0": ("L0", "{:.1f}"),
    "alive_latents": ("alive latents", "{:.0f}"),
}


def sweep(job, *, csv: Path) -> Figure:
    """Draw explained variance, L0 and alive latents over the grid, and their trade-off.

    The table holds one row per SAE; the column `chosen` marks the best one.
    """
    table = pd.read_csv(csv)
    n_rows, n_columns = table.l1_coefficient.nunique(), table.lr.nunique()
    figure = theme.new_figure(max(theme.PAGE_WIDTH, 1.2 * n_columns), 3.2 + 0.24 * n_rows)
    top, bottom = figure.subfigures(2, 1, height_ratios=[0.6 + 0.24 * n_rows, 2.6])
    axes = top.subplots(1, len(GRIDS), sharey=True)
    for ax, (value, (name, number)) in zip(axes, GRIDS.items(), strict=True):
        _grid(ax, table, value, number)
        ax.set_title(name)
    axes[0].set_ylabel("l1_coefficient")
    ax = bottom.subplots()
    _trade_off(ax, table)
    ax.set_title("trade-off (dot size: share of latents alive)")
    return figure


def _grid(ax: Axes, table: pd.DataFrame, value: str, number: str) -> None:
    """Draw one metric over lr (across) and l1_coefficient (up), numbers inside, the choice framed.

    Cells without an SAE or with a diverged one stay grey.
    """
    grid = table.pivot(index="l1_coefficient", columns="lr", values=value).sort_index()
    cells = np.ma.masked_invalid(grid.to_numpy(dtype=float))
    # A diverged run may explain less than nothing; it must not stretch the colours.
    low = max(float(cells.min()), 0.0) if value == "explained_variance" else float(cells.min())
    high = float(cells.max())
    norm = (
        LogNorm(max(low, 0.5), max(high, 1.0)) if value == "l0" else Normalize(low, max(high, low))
    )
    shades = norm(np.ma.maximum(cells, norm.vmin))  # zero has no logarithm
    ax.set_facecolor("#CCCCCC")
    ax.imshow(shades, origin="lower", aspect="auto", vmin=0, vmax=1, cmap="viridis")
    for (row, column), cell in np.ndenumerate(grid.to_numpy(dtype=float)):
        if np.isfinite(cell):
            colour = "black" if shades[row, column] > 0.6 else "white"
            font = {"ha": "center", "va": "center", "size": 6, "color": colour}
            ax.text(column, row, number.format(cell), **font)
    for _, best in table[table.chosen.astype(bool)].iterrows():
        column, row = grid.columns.get_loc(best.lr), grid.index.get_loc(best.l1_coefficient)
        frame = {"fill": False, "edgecolor": theme.CLS, "linewidth": 2, "clip_on": False}
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **frame))
    ax.set_xticks(range(grid.shape[1]), map(power, grid.columns))
    ax.set_yticks(range(grid.shape[0]), map(power, grid.index))
    ax.set_xlabel("lr")


def _trade_off(ax: Axes, table: pd.DataFrame) -> None:
    """Draw explained variance against L0, a point per SAE, coloured by lr, dead share as size."""
    colours = theme.layer_colours(table.lr)
    for lr, colour in colours.items():
        rows = table[table.lr == lr]
        sizes = 6 + 34 * rows.alive_latents / rows.d_sae
        ax.scatter(rows.l0, rows.explained_variance, s=sizes, color=colour, alpha=0.85)
    best = table[table.chosen.astype(bool)]
    ring = {"facecolor": "none", "edgecolor": theme.CLS, "linewidth": 2}
    ax.scatter(best.l0, best.explained_variance, s=110, **ring)
    ax.set_xscale("symlog", linthresh=1)
    ax.set_ylim(max(float(table.explained_variance.min()), -0.1) - 0.03, 1.03)
    ax.set_xlabel("L0")
    ax.set_ylabel("explained variance")
    ax.grid()
    marks = [Line2D([], [], ls="", marker="o", color=colour) for colour in colours.values()]
    marks.append(Line2D([], [], ls="", marker="o", mfc="none", mec=theme.CLS, mew=1.6, ms=8))
    names = [*(f"lr {power(lr)}" for lr in colours), "chosen"]
    ax.legend(marks, names, loc="center left", bbox_to_anchor=(1.0, 0.5))

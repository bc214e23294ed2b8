"""The learning-rate × sparsity sweep: three maps over the log grid and the trade-off they make.

Steering paper App. 10.1. Table: one row per SAE, `chosen` from `clip_sae.analyses.sweep.points`.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from clip_sae.plotting import theme

_COLUMNS = ("lr", "l1_coefficient", "explained_variance", "l0", "alive_latents", "d_sae", "chosen")
# column, panel title, log colours, number format
GRIDS = (
    ("explained_variance", "explained variance", False, "{:.2f}"),
    ("l0", "L0", True, "{:.1f}"),
    ("alive_latents", "alive latents", False, "{:.0f}"),
)


def plot_grid(
    sweep: pd.DataFrame, ax: Axes, *, value: str, log: bool = False, number: str = "{:.2f}"
) -> Axes:
    """Draw one metric over lr (across) and l1_coefficient (up), numbers inside, the choice framed.

    `sweep`: columns lr, l1_coefficient, chosen and `value`. Cells without an SAE or with a diverged
    one stay grey.
    """
    theme.require_columns(sweep, ["lr", "l1_coefficient", "chosen", value], "the sweep grid")
    grid = sweep.pivot(index="l1_coefficient", columns="lr", values=value).sort_index()
    cells = np.ma.masked_invalid(grid.to_numpy(dtype=float))
    # A run that went wrong may explain less than nothing; it must not stretch the colours.
    low = max(float(cells.min()), 0.0) if value == "explained_variance" else float(cells.min())
    high = float(cells.max())
    norm = LogNorm(max(low, 0.5), max(high, 1.0)) if log else Normalize(low, max(high, low))
    shades = norm(np.ma.maximum(cells, norm.vmin))  # a logarithm takes no zero
    ax.set_facecolor("#CCCCCC")
    ax.imshow(shades, origin="lower", aspect="auto", vmin=0, vmax=1, cmap="viridis")
    for (row, column), cell in np.ndenumerate(grid.to_numpy(dtype=float)):
        if not np.isfinite(cell):
            continue
        colour = "black" if shades[row, column] > 0.6 else "white"
        ax.text(column, row, number.format(cell), ha="center", va="center", size=6, color=colour)
    for _, best in sweep[sweep.chosen.astype(bool)].iterrows():
        column, row = grid.columns.get_loc(best.lr), grid.index.get_loc(best.l1_coefficient)
        frame = {"fill": False, "edgecolor": theme.CLS, "linewidth": 2, "clip_on": False}
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **frame))
    ax.set_xticks(range(grid.shape[1]), map(theme.power, grid.columns))
    ax.set_yticks(range(grid.shape[0]), map(theme.power, grid.index))
    ax.set_xlabel("lr")
    return ax


def plot_trade_off(sweep: pd.DataFrame, ax: Axes) -> Axes:
    """Draw explained variance against L0, a point per SAE, coloured by lr, dead share as size."""
    theme.require_columns(sweep, _COLUMNS, "the sweep scatter")
    rates = sorted(sweep.lr.unique())
    colours = theme.layer_colours(range(len(rates)))
    for index, lr in enumerate(rates):
        rows = sweep[sweep.lr == lr]
        sizes = 6 + 34 * rows.alive_latents / rows.d_sae
        ax.scatter(rows.l0, rows.explained_variance, s=sizes, color=colours[index], alpha=0.85)
    best = sweep[sweep.chosen.astype(bool)]
    ax.scatter(
        best.l0, best.explained_variance, s=110, facecolor="none", edgecolor=theme.CLS, linewidth=2
    )
    ax.set_xscale("symlog", linthresh=1)
    ax.set_ylim(max(float(sweep.explained_variance.min()), -0.1) - 0.03, 1.03)
    ax.set_xlabel("L0")
    ax.set_ylabel("explained variance")
    ax.grid()
    dots = [Line2D([], [], ls="", marker="o", color=colours[i]) for i in range(len(rates))]
    ring = Line2D([], [], ls="", marker="o", mfc="none", mec=theme.CLS, mew=1.6, ms=8)
    names = [f"lr {theme.power(lr)}" for lr in rates]
    ax.legend([*dots, ring], [*names, "chosen"], loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def draw_sweep(sweep: pd.DataFrame, *, title: str = "") -> Figure:
    """Return the sweep figure: grids of explained variance, L0, alive latents, and the scatter.

    `sweep`: columns lr, l1_coefficient, explained_variance, l0, alive_latents, d_sae, chosen.
    """
    theme.require_columns(sweep, _COLUMNS, "the sweep")
    n_rows, n_columns = sweep.l1_coefficient.nunique(), sweep.lr.nunique()
    figure = theme.new_figure(max(theme.PAGE_WIDTH, 1.2 * n_columns), 3.2 + 0.24 * n_rows)
    top, bottom = figure.subfigures(2, 1, height_ratios=[0.6 + 0.24 * n_rows, 2.6])
    axes = top.subplots(1, len(GRIDS), sharey=True)
    for ax, (value, name, log, number) in zip(axes, GRIDS, strict=True):
        plot_grid(sweep, ax, value=value, log=log, number=number)
        ax.set_title(name)
    axes[0].set_ylabel("l1_coefficient")
    ax = bottom.subplots()
    plot_trade_off(sweep, ax)
    ax.set_title("trade-off (dot size: share of latents alive)")
    if title:
        figure.suptitle(title, x=0.01, ha="left", size=9)
    return figure

"""The frontier of SAE architectures: quality against L0, one curve per architecture."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.analyses.frontier.curves import CURVE, over_seeds
from clip_sae.plotting import theme
from clip_sae.plotting.panels import letters, plain_log_axis, shared_legend, whiskers

# metric → panel title
PANELS = {
    "explained_variance": "explained variance",
    "ce_recovered": "cross-entropy recovered",
}


def curve_styles(points: pd.DataFrame) -> dict[tuple, theme.Style]:
    """Return {(recipe, architecture, decoder_norm): style}.

    Where two recipes train the same architecture, the recipe follows its name.
    """
    curves = points[CURVE].drop_duplicates().itertuples(index=False, name=None)
    keys = {curve: curve[1] if curve[2] == "unit" else f"{curve[1]}/{curve[2]}" for curve in curves}
    return theme.styles_of("architecture", keys, own=lambda curve: curve[0])


def frontier(job, *, csv: Path) -> Figure:
    """Draw explained variance and recovered cross-entropy against L0, means over seeds."""
    points = over_seeds(pd.read_csv(csv))
    figure = theme.new_figure(theme.PAGE_WIDTH, 3.3)
    axes = figure.subplots(1, len(PANELS))
    for ax, (metric, title) in zip(axes, PANELS.items(), strict=True):
        _curves(ax, points, metric)
        ax.set_title(title)
    letters(axes)
    shared_legend(figure, axes[0])
    return figure


def _curves(ax: Axes, points: pd.DataFrame, metric: str) -> None:
    """Draw one metric over L0: a line per curve, bars from the least to the greatest seed.

    A point at L0 = 0 is left out: the axis is logarithmic.
    """
    styles = curve_styles(points)
    for curve, rows in points[points.l0_low > 0].groupby(CURVE, sort=False):
        style, rows = styles[curve], rows.sort_values("l0")
        ax.errorbar(
            rows.l0, rows[metric], xerr=whiskers(rows, "l0"), yerr=whiskers(rows, metric),
            color=style.colour, marker=style.marker, markersize=3.5, linewidth=1.1,
            elinewidth=0.9, capsize=1.5, label=style.name,
        )  # fmt: skip
    plain_log_axis(ax.xaxis)
    ax.set_xlabel("L0 (active latents per token)")
    ax.grid()

"""Fig. 9: the likeliest words as the strength of one latent grows.

Steering paper, App. 11.1 and Fig. 9: the three likeliest words at every strength, there of one
image. Here of one image and of the mean over images. Table: steering_traces.csv.
"""

from collections.abc import Collection

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from clip_sae.analyses.steering.draw_curves import traced_units
from clip_sae.analyses.steering.draw_shared import hide_words
from clip_sae.plotting import theme

TOP = 3
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GREY = "#BBBBBB"
_SCOPES = ("image0", "mean")


def top_words(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the `TOP` likeliest words of every scope and strength of one latent."""
    ranked = rows.sort_values(["probability", "word"], ascending=[False, True])
    return ranked.groupby(["scope", "strength"], sort=False).head(TOP)


def word_colours(top: pd.DataFrame) -> dict[str, str]:
    """Colour the words that grow likeliest somewhere; the others share one grey and no name."""
    peaks = top.groupby("word").probability.max().sort_values(ascending=False, kind="stable")
    return dict(zip(peaks.index, _COLOURS, strict=False))


def plot_words(rows: pd.DataFrame, ax: Axes, *, colours: dict[str, str]) -> Axes:
    """Draw one scope of one latent: a line per word, dots where it is among the likeliest.

    `rows`: columns scope, strength, word, probability.
    """
    grid, dots = (
        part.pivot(index="strength", columns="word", values="probability").sort_index()
        for part in (rows, top_words(rows))
    )
    for word in sorted(dots.columns, key=lambda name: name in colours):
        colour, width = (colours[word], 1.0) if word in colours else (_GREY, 0.5)
        ax.plot(grid.index, grid[word], color=colour, lw=width)
        ax.plot(dots.index, dots[word], color=colour, ls="", marker="o", ms=3)
    ax.set_ylim(0, 1.03)
    ax.grid(axis="y")
    return ax


def draw_words_along_strength(traces: pd.DataFrame, *, mask: Collection[str] = ()) -> Figure:
    """Return Fig. 9: a row per traced latent; the first image left, the mean over images right.

    `traces`: as `steering_curves.COLUMNS`. Words in `mask` are hidden.
    """
    units = traced_units(traces)
    figure = theme.new_figure(theme.PAGE_WIDTH, 0.5 + 1.55 * len(units))
    axes = figure.subplots(len(units), 2, sharex=True, sharey=True, squeeze=False)
    n_images = int(traces.n_images.iloc[0])
    heads = ("the first image", f"mean over {n_images:,} images")
    for row, ((layer, unit), rows) in zip(axes, units, strict=True):
        top = top_words(rows)
        colours = word_colours(top)
        for ax, scope, head in zip(row, _SCOPES, heads, strict=True):
            plot_words(rows[rows.scope == scope], ax, colours=colours)
            name = f"{rows.role.iloc[0]}: layer {layer}, latent {unit:,}"
            ax.set_title(f"{name}, {head}" if ax is row[0] else head)
        handles = [Line2D([], [], color=c, marker="o", ms=3) for c in colours.values()]
        names = hide_words(colours, mask)
        if (rest := top.word.nunique() - len(colours)) > 0:
            handles.append(Line2D([], [], color=_GREY, lw=0.5, marker="o", ms=3))
            names.append(f"{rest} other word{'s' if rest > 1 else ''}")
        row[1].legend(handles, names, loc="center left", bbox_to_anchor=(1.0, 0.5))
        row[0].set_ylabel("probability")
    for ax in axes[-1]:
        ax.set_xlabel("strength s")
    return figure

"""A few latents along the strength: their effect on the prediction, and the likeliest words.

Steering paper, Section 6.2.1 and App. 11.1, Figs 5 and 9. Table: steering_traces.csv, one row per
latent, strength, scope and word; the scope is "image0", the first image, or "mean" over images.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from clip_sae.analyses.steering.draw_shared import DARK, hide_words, read_table
from clip_sae.clip.vocabulary import read_mask
from clip_sae.plotting import theme

ROLES = ("perfect", "tight", "diffuse", "named")
LIKELIEST = 3  # words of a strength that get dots
_GREY = "#BBBBBB"


def fig5(job, *, traces: Path, mask: Path | None, gamma: float) -> Figure:
    """Draw S and ΔP against strength, each latent named by the words that it promotes.

    `mask`: words that the figure shows as dots. Readers can distinguish at most seven latents.
    """
    table, hidden = read_table(traces), read_mask(mask)
    units = _units(table)
    if len(units) > len(theme.CURVES):
        raise ValueError(
            f"Fig. 5 has {len(theme.CURVES)} colours for latents; {len(units)} were given"
        )
    figure = theme.new_figure(theme.PAGE_WIDTH, 2.9)
    ax = figure.subplots()
    handles, names = [], []
    for ((layer, unit), rows), colour in zip(units, theme.CURVES, strict=False):
        _curves(ax, rows, colour)
        handles.append(Line2D([], [], color=colour))
        role = f"{rows.role.iloc[0]} (layer {layer}, latent {unit:,})"
        names.append(f"{role}\n{_promoted(rows, hidden)}")
    ax.axhline(gamma, color="black", lw=0.8, ls="--", zorder=0)
    ax.set_title(f"mean over {int(table.n_images.iloc[0]):,} images")
    ax.set_xlabel("strength s")
    ax.set_ylabel("change of the prediction")
    ax.grid()
    for name, line in (
        ("steerability S (Eq. 5)", {"color": DARK}),
        ("ΔP, greatest change (Eq. 4)", {"color": DARK, "ls": ":"}),
        ("half of the final S", {"ls": "", "marker": "o", "mfc": "white", "mec": DARK, "ms": 6}),
        (f"γ = {gamma:g}: steerable above it", {"color": "black", "lw": 0.8, "ls": "--"}),
    ):
        handles.append(Line2D([], [], **line))
        names.append(name)
    ax.legend(handles, names, loc="center left", bbox_to_anchor=(1.01, 0.5), labelspacing=0.9)
    return figure


def _units(traces: pd.DataFrame) -> list[tuple[tuple[int, int], pd.DataFrame]]:
    """Return the latents as ((layer, unit), rows), in the order of `ROLES`; strengths are finite.

    The asymptote cannot stand on an axis of strengths.
    """
    finite = traces[np.isfinite(traces.strength.astype(float))]
    if unknown := sorted(set(finite.role) - set(ROLES)):
        raise ValueError(f"the role {unknown[0]!r} is unknown; roles are {', '.join(ROLES)}")
    units = list(finite.groupby(["layer", "unit"]))
    return sorted(units, key=lambda unit: (ROLES.index(unit[1].role.iloc[0]), unit[0]))


def _curves(ax: Axes, rows: pd.DataFrame, colour: str) -> None:
    """Draw S (solid) and ΔP (dotted) of one latent, with a ring where S is half its final value."""
    curve = rows[rows.scope == "mean"].drop_duplicates("strength").sort_values("strength")
    ax.plot(curve.strength, curve.steerability, color=colour)
    ax.plot(curve.strength, curve.delta_p, color=colour, ls=":")
    half = float(rows.half_saturation.iloc[0])
    if np.isfinite(half):
        height = np.interp(half, curve.strength, curve.steerability)
        ax.plot([half], [height], marker="o", ms=6, mfc="white", mec=colour, mew=1.4, zorder=3)


def _promoted(rows: pd.DataFrame, mask: Collection[str], most: int = 3) -> str:
    """Return the words that the greatest strength promotes most in the mean, with their changes.

    Words that gain less than 0.005 are left out, unless no word gains more.
    """
    mean = rows[rows.scope == "mean"]
    last = mean[mean.strength == mean.strength.max()].nlargest(most, "change")
    last = last[(last.change >= 0.005) | (last.change.rank(ascending=False, method="first") == 1)]
    pairs = zip(hide_words(last.word, mask), last.change, strict=True)
    return ", ".join(f"{word} {change:+.2f}" for word, change in pairs)


def fig9(job, *, traces: Path, mask: Path | None) -> Figure:
    """Draw the likeliest words against strength: a row per latent, one image left, the mean right.

    `mask`: words that the figure shows as dots.
    """
    table, hidden = read_table(traces), read_mask(mask)
    units = _units(table)
    figure = theme.new_figure(theme.PAGE_WIDTH, 0.5 + 1.55 * len(units))
    axes = figure.subplots(len(units), 2, sharex=True, sharey=True, squeeze=False)
    mean = f"mean over {int(table.n_images.iloc[0]):,} images"
    for (left, right), ((layer, unit), rows) in zip(axes, units, strict=True):
        top = _likeliest(rows)
        peaks = top.groupby("word").probability.max().sort_values(ascending=False, kind="stable")
        # The words that grow likeliest somewhere; the others share one grey and no name.
        colours = dict(zip(peaks.index, theme.CURVES[:6], strict=False))
        for ax, scope in ((left, "image0"), (right, "mean")):
            _words(ax, rows[rows.scope == scope], colours)
        name = f"{rows.role.iloc[0]}: layer {layer}, latent {unit:,}"
        left.set_title(f"{name}, the first image")
        right.set_title(mean)
        left.set_ylabel("probability")
        handles = [Line2D([], [], color=c, marker="o", ms=3) for c in colours.values()]
        names = hide_words(colours, hidden)
        if (rest := top.word.nunique() - len(colours)) > 0:
            handles.append(Line2D([], [], color=_GREY, lw=0.5, marker="o", ms=3))
            names.append(f"{rest} other word{'s' if rest > 1 else ''}")
        right.legend(handles, names, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for ax in axes[-1]:
        ax.set_xlabel("strength s")
    return figure


def _likeliest(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the `LIKELIEST` words of every scope and strength of one latent."""
    ranked = rows.sort_values(["probability", "word"], ascending=[False, True])
    return ranked.groupby(["scope", "strength"], sort=False).head(LIKELIEST)


def _words(ax: Axes, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    """Draw one scope of one latent: a line per word, dots where it is among the likeliest."""
    grid, dots = (
        part.pivot(index="strength", columns="word", values="probability").sort_index()
        for part in (rows, _likeliest(rows))
    )
    for word in sorted(dots.columns, key=lambda name: name in colours):
        colour, width = (colours[word], 1.0) if word in colours else (_GREY, 0.5)
        ax.plot(grid.index, grid[word], color=colour, lw=width)
        ax.plot(dots.index, dots[word], color=colour, ls="", marker="o", ms=3)
    ax.set_ylim(0, 1.03)
    ax.grid(axis="y")

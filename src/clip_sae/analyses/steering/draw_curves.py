"""Fig. 5: how far one latent moves the prediction as its strength grows.

Steering paper, Section 6.2.1 and Fig. 5. Table: steering_traces.csv, one row per latent, strength
and word; its rows of scope "mean" are of the mean over images.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from clip_sae.analyses.steering.draw_shared import hide_words
from clip_sae.plotting import theme

COLUMNS = (
    "layer", "unit", "role", "strength", "scope", "word", "probability", "change", "delta_p",
    "steerability", "half_saturation", "n_images",
)  # fmt: skip
ROLES = ("perfect", "tight", "diffuse", "named")
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def traced_units(traces: pd.DataFrame) -> list[tuple[tuple[int, int], pd.DataFrame]]:
    """The traced latents as ((layer, unit), rows), in the order of `ROLES`; strengths are finite.

    `traces`: `COLUMNS`. The asymptote has no place on an axis of strengths.
    """
    theme.require_columns(traces, COLUMNS, "the traces of steered latents")
    finite = traces[np.isfinite(traces.strength.astype(float))]
    if unknown := sorted(set(finite.role) - set(ROLES)):
        raise ValueError(f"the role {unknown[0]!r} is unknown; roles are {', '.join(ROLES)}")
    units = list(finite.groupby(["layer", "unit"]))
    return sorted(units, key=lambda unit: (ROLES.index(unit[1].role.iloc[0]), unit[0]))


def promoted_words(rows: pd.DataFrame, *, mask: Collection[str] = (), most: int = 3) -> str:
    """Name the words that the greatest strength promotes most in the mean, with their changes.

    Words that gain less than 0.005 are left out, unless no word gains more.
    """
    mean = rows[rows.scope == "mean"]
    last = mean[mean.strength == mean.strength.max()].nlargest(most, "change")
    last = last[(last.change >= 0.005) | (last.change.rank(ascending=False, method="first") == 1)]
    words = hide_words(last.word, mask)
    pairs = zip(words, last.change, strict=True)
    return ", ".join(f"{word} {change:+.2f}" for word, change in pairs)


def plot_curves(traces: pd.DataFrame, ax: Axes, *, gamma: float) -> Axes:
    """Draw S (solid) and ΔP (dotted) of every traced latent against strength.

    `traces`: `COLUMNS`. A ring stands on S where it reaches half of its final value, and a dashed
    line at `gamma`, above which a latent counts as steerable.
    """
    for ((_, _), rows), colour in zip(traced_units(traces), _COLOURS, strict=False):
        curve = rows[rows.scope == "mean"].drop_duplicates("strength").sort_values("strength")
        ax.plot(curve.strength, curve.steerability, color=colour)
        ax.plot(curve.strength, curve.delta_p, color=colour, ls=":")
        half = float(rows.half_saturation.iloc[0])
        if np.isfinite(half):
            height = np.interp(half, curve.strength, curve.steerability)
            ax.plot([half], [height], marker="o", ms=6, mfc="white", mec=colour, mew=1.4, zorder=3)
    ax.axhline(gamma, color="black", lw=0.8, ls="--", zorder=0)
    ax.set_xlabel("strength s")
    ax.set_ylabel("change of the prediction")
    ax.grid()
    return ax


def draw_steering_curves(
    traces: pd.DataFrame, *, gamma: float, mask: Collection[str] = ()
) -> Figure:
    """Return Fig. 5: S and ΔP against strength, each latent named by the words that it promotes.

    `traces`: `COLUMNS`; at most seven latents. Words in `mask` are hidden.
    """
    units = traced_units(traces)
    if len(units) > len(_COLOURS):
        raise ValueError(f"Fig. 5 tells {len(_COLOURS)} latents apart; {len(units)} were given")
    figure = theme.new_figure(theme.PAGE_WIDTH, 2.9)
    ax = figure.subplots()
    plot_curves(traces, ax, gamma=gamma)
    n_images = int(traces.n_images.iloc[0])
    ax.set_title(f"mean over {n_images:,} images")
    handles, names = [], []
    for ((layer, unit), rows), colour in zip(units, _COLOURS, strict=False):
        handles.append(Line2D([], [], color=colour))
        words = promoted_words(rows, mask=mask)
        names.append(f"{rows.role.iloc[0]} (layer {layer}, latent {unit:,})\n{words}")
    dark = "#444444"
    handles += [Line2D([], [], color=dark), Line2D([], [], color=dark, ls=":"),
                Line2D([], [], ls="", marker="o", mfc="white", mec=dark, ms=6),
                Line2D([], [], color="black", lw=0.8, ls="--")]  # fmt: skip
    names += ["steerability S (Eq. 5)", "ΔP, greatest change (Eq. 4)", "half of the final S",
              f"γ = {gamma:g}: steerable above it"]  # fmt: skip
    ax.legend(handles, names, loc="center left", bbox_to_anchor=(1.01, 0.5), labelspacing=0.9)
    return figure

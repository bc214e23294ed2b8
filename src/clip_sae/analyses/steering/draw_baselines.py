"""What the SAE adds: steerability of latents beside neurons, random and PCA directions.

The paper compares latents with neurons only (Section 6.2.3). Random directions, PCA directions of
equal norm and the latents of an untrained SAE show what any direction of that length would do.
Tables: steerability_baselines_histogram.csv and the layer table, all kinds.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from clip_sae.analyses.steering.draw_coverage import (
    curves_of_layer,
    plot_by_threshold,
    plot_rarefaction,
    plot_share,
    quarter_mark,
)
from clip_sae.analyses.steering.draw_shared import (
    KINDS,
    kinds_of,
    percent_axis,
    sample_note,
    strength_name,
)
from clip_sae.plotting import theme


def survival(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the bins of one group, and the share of its units strictly above each."""
    rows = rows.sort_values("s_low")
    counts = rows.n_units.to_numpy()
    above = np.append(counts[::-1].cumsum()[::-1], 0)
    return np.append(rows.s_low, rows.s_high.iloc[-1]), above / counts.sum()


def plot_survival(table: pd.DataFrame, ax: Axes, *, kinds: list[str]) -> Axes:
    """Draw the share of units above each steerability, a step line per kind, logarithmic.

    `table`: of one layer and strength, columns kind, s_low, s_high, n_units. A line ends where no
    unit is left.
    """
    theme.require_columns(table, ["kind", "s_low", "s_high", "n_units"], "the distribution")
    for kind in kinds:
        rows = table[table.kind == kind]
        if rows.empty:
            continue
        edges, share = survival(rows)
        left = share > 0
        ax.plot(edges[left], share[left], color=KINDS[kind][1], lw=1.2)
    ax.set_yscale("log")
    percent_axis(ax.yaxis)
    ax.set_xlim(left=0)
    ax.set_xlabel("steerability S")
    ax.grid()
    return ax


def draw_baselines(
    table: pd.DataFrame,
    layers: pd.DataFrame,
    rarefaction: pd.DataFrame,
    *,
    strength: float,
    gamma: float,
) -> Figure:
    """Return the baselines: who is how steerable, and words reached over β and per unit.

    `table`: the histogram, all kinds; `layers`, `rarefaction`: as of Fig. 7, all kinds. All
    panels but the steerable share by layer are of the last layer.
    """
    kinds = kinds_of(layers)
    at_strength = table[table.strength.astype(float) == strength]
    if at_strength.empty:
        raise ValueError(f"no unit was steered with {strength_name(strength)}")
    last = at_strength.layer.max()
    figure = theme.new_figure(theme.PAGE_WIDTH, 5.0)
    (distribution, share), (by_level, by_unit) = figure.subplots(2, 2)
    plot_survival(at_strength[at_strength.layer == last], distribution, kinds=kinds)
    distribution.axvline(gamma, color="black", lw=0.7, zorder=0)
    distribution.set_title(f"layer {last}: share of units above S")
    plot_share(layers, share, strength=strength, gamma=gamma, kinds=kinds)
    plot_by_threshold(layers, by_level, layer=last, strength=strength, kinds=kinds)
    by_level.set_ylabel(f"words reached, of {int(layers.n_words.iloc[0]):,}")
    by_level.set_title(f"layer {last}: coverage over β")
    plot_rarefaction(curves_of_layer(rarefaction, last), by_unit, kinds=kinds)
    by_unit.set_title(f"layer {last}: coverage per unit, S > {gamma:g}")
    for ax, name in zip((distribution, share, by_level, by_unit), "abcd", strict=True):
        theme.letter(ax, name)
    handles = []
    for kind in kinds:
        name, colour, marker = KINDS[kind]
        n = at_strength[(at_strength.kind == kind) & (at_strength.layer == last)].n_units.sum()
        label = f"{name} ({n:,})" if n else name
        handles.append(Line2D([], [], color=colour, marker=marker, label=label))
    handles.append(quarter_mark())
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    note = sample_note(layers[layers.strength.astype(float) == strength])
    n_images = int(layers.n_images.iloc[0])
    figure.suptitle(
        f"{strength_name(strength)}, {n_images:,} images; {note}; d: over samples",
        x=0.01, ha="left", size=7.5,
    )  # fmt: skip
    return figure

"""The frontier of SAE architectures: quality against L0, a curve each, and the same as a table.

Tables: from `clip_sae.analyses.frontier.curves`, means over seeds with their least and greatest.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.plotting import theme
from clip_sae.plotting.tables import Column

_CURVE = ["recipe", "architecture", "decoder_norm"]
# (architecture, norm of the decoder's rows) → name, colour, marker
STYLES = {
    ("vanilla", "unit"): ("vanilla", "#0072B2", "o"),
    ("vanilla", "free"): ("vanilla, free norm", "#56B4E9", "s"),
    ("gated", "unit"): ("gated", "#CC79A7", "P"),
    ("jumprelu", "unit"): ("JumpReLU", "#009E73", "D"),
    ("topk", "unit"): ("TopK", "#D55E00", "^"),
    ("batchtopk", "unit"): ("BatchTopK", "#E69F00", "v"),
    ("matryoshka", "unit"): ("Matryoshka", "#000000", "X"),
}
# metric, axis label
PANELS = (
    ("explained_variance", "explained variance"),
    ("ce_recovered", "cross-entropy recovered"),
)


def curve_names(points: pd.DataFrame) -> dict[tuple, str]:
    """Name each curve (recipe, architecture, decoder_norm): the recipe stands behind where needed.

    That is where two recipes train the same architecture.
    """
    curves = list(points[_CURVE].drop_duplicates().itertuples(index=False, name=None))
    names = {curve: STYLES[curve[1:]][0] for curve in curves}
    repeated = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {c: f"{name} ({c[0]})" if name in repeated else name for c, name in names.items()}


def plot_frontier(points: pd.DataFrame, ax: Axes, *, metric: str) -> Axes:
    """Draw one metric over L0 (logarithmic): a line per curve, bars from least to greatest seed.

    `points`: columns recipe, architecture, decoder_norm, and l0 and `metric` with their _low and
    _high, as of `over_seeds`. A point at L0 = 0 has no place on the axis and is left out.
    """
    wanted = [f"{name}{end}" for name in ("l0", metric) for end in ("", "_low", "_high")]
    theme.require_columns(points, [*_CURVE, *wanted], "the frontier")
    names = curve_names(points)
    for curve, rows in points[points.l0_low > 0].groupby(_CURVE, sort=False):
        _, colour, marker = STYLES[curve[1:]]
        rows = rows.sort_values("l0")
        bars = {
            f"{axis}err": (rows[name] - rows[f"{name}_low"], rows[f"{name}_high"] - rows[name])
            for axis, name in (("x", "l0"), ("y", metric))
        }
        ax.errorbar(
            rows.l0, rows[metric], **bars, color=colour, marker=marker, markersize=3.5,
            linewidth=1.1, elinewidth=0.9, capsize=1.5, label=names[curve],
        )  # fmt: skip
    theme.plain_log_axis(ax.xaxis)
    ax.set_xlabel("L0 (active latents per token)")
    ax.grid()
    return ax


def draw_frontier(points: pd.DataFrame, *, title: str = "") -> Figure:
    """Return the frontier figure: explained variance and recovered cross-entropy against L0.

    `points`: as for `plot_frontier`, with both metrics.
    """
    figure = theme.new_figure(theme.PAGE_WIDTH, 3.3)
    axes = figure.subplots(1, len(PANELS))
    for ax, letter, (metric, label) in zip(axes, "ab", PANELS, strict=True):
        plot_frontier(points, ax, metric=metric)
        ax.set_title(label)
        theme.letter(ax, letter)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 7))
    if title:
        figure.suptitle(title, x=0.01, ha="left", size=9)
    return figure


def to_markdown(readings: pd.DataFrame, *, caption: str) -> str:
    """Render values at equal L0 as Markdown: a row per curve, a column per metric and L0.

    `readings`: as of `at_equal_l0`. A dash stands where no seed's SAEs reach that L0.
    """
    columns = (
        ("explained_variance", "Exp. Var.", Column("", "", 3)),
        ("ce_recovered", "CE Rec (%)", Column("", "", 2, scale=100)),
    )
    names = [name for name, _, _ in columns]
    theme.require_columns(readings, [*_CURVE, "l0", *names], "the frontier's table")
    levels = sorted(readings.l0.unique())
    header = ["Architecture"] + [f"{h} at L0 {lv:g}" for _, h, _ in columns for lv in levels]
    lines = [f"**{caption}**", "", _line(header), _line(["---"] + ["--:"] * (len(header) - 1))]
    for curve, name in curve_names(readings).items():
        rows = readings[(readings[_CURVE] == curve).all(axis=1)].set_index("l0")
        cells = [_reading(rows.loc[lv], m, form) for m, _, form in columns for lv in levels]
        lines.append(_line([name, *cells]))
    return "\n".join([*lines, ""])


def _reading(row: pd.Series, metric: str, form: Column) -> str:
    value, low, high = (
        form.number(row[f"{metric}{end}"], form.scale) for end in ("", "_low", "_high")
    )
    return value if pd.isna(row[metric]) else f"{value} [{low}, {high}]"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"

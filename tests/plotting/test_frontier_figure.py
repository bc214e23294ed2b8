"""The frontier: a curve per architecture, bars over seeds both ways, and its table."""

import itertools

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.frontier.draw_frontier import (
    STYLES,
    draw_frontier,
    plot_frontier,
    to_markdown,
)
from clip_sae.plotting import theme


def frontier(curves=tuple(STYLES), l0=(4.0, 8.0, 16.0)):
    rows = [
        {
            "recipe": f"frontier_{architecture}",
            "architecture": architecture,
            "decoder_norm": norm,
            "l0": level,
            "l0_low": 0.9 * level,
            "l0_high": 1.2 * level,
            "explained_variance": 0.5 + 0.02 * level - 0.01 * number,
            "ce_recovered": 0.99 - 0.1 / (1 + level),
        }
        for number, (architecture, norm) in enumerate(curves)
        for level in l0
    ]
    table = pd.DataFrame(rows)
    for name in ("explained_variance", "ce_recovered"):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 0.01, table[name] + 0.02
    return table


def test_every_curve_has_its_own_colour_marker_and_name():
    for part in range(3):
        assert len({style[part] for style in STYLES.values()}) == len(STYLES)


def test_a_line_per_curve_and_bars_to_the_extremes(ax):
    points = frontier([("topk", "unit"), ("vanilla", "free")])
    plot_frontier(points.sample(frac=1, random_state=0), ax, metric="explained_variance")
    assert ax.get_xscale() == "log"
    by_name = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    assert set(by_name) == {"TopK", "vanilla, free norm"}
    line, _, bars = by_name["TopK"].lines
    np.testing.assert_allclose(line.get_xydata().T, [[4, 8, 16], [0.58, 0.66, 0.82]])
    across, up = (np.stack(b.get_segments()) for b in bars)
    np.testing.assert_allclose(across[0][:, 0], [3.6, 4.8])
    np.testing.assert_allclose(up[0][:, 1], [0.57, 0.60])


def test_a_silent_sae_has_no_place_on_the_logarithmic_axis(ax):
    plot_frontier(frontier([("gated", "unit")], l0=(0.0, 8.0)), ax, metric="ce_recovered")
    assert ax.containers[0].lines[0].get_xdata().tolist() == [8.0]


def test_the_recipe_stands_behind_a_name_that_two_curves_share(ax):
    points = frontier([("topk", "unit"), ("gated", "unit")])
    other = points[points.architecture == "topk"].assign(recipe="longer")
    plot_frontier(pd.concat([points, other]), ax, metric="ce_recovered")
    labels = ax.get_legend_handles_labels()[1]
    assert labels == ["TopK (frontier_topk)", "gated", "TopK (longer)"]


def test_the_figure_has_two_panels_and_one_legend(tmp_path):
    figure = draw_frontier(frontier(), title="resid_post, layer 3")
    assert [ax.get_title("left") for ax in figure.axes] == [
        "explained variance",
        "cross-entropy recovered",
    ]
    assert len(figure.legends[0].get_texts()) == len(STYLES)
    theme.save(figure, tmp_path / "frontier.png", tmp_path / "frontier.svg")


def test_a_missing_column_is_named(ax):
    with pytest.raises(ValueError, match="the frontier needs the column 'l0_low'"):
        plot_frontier(frontier().drop(columns="l0_low"), ax, metric="ce_recovered")


def test_the_table_has_a_row_per_curve_and_a_dash_where_nothing_reaches():
    readings = frontier([("topk", "unit"), ("jumprelu", "unit")], l0=(8.0, 16.0))
    out = (readings.architecture == "jumprelu") & (readings.l0 == 16)
    metrics = ["".join(p) for p in itertools.product(
        ("explained_variance", "ce_recovered"), ("", "_low", "_high"))]  # fmt: skip
    readings.loc[out, metrics] = np.nan
    lines = to_markdown(readings, caption="What and where").splitlines()
    assert lines[0] == "**What and where**"
    assert lines[2] == (
        "| Architecture | Exp. Var. at L0 8 | Exp. Var. at L0 16 | CE Rec (%) at L0 8 "
        "| CE Rec (%) at L0 16 |"
    )
    assert lines[4].startswith("| TopK | 0.660 [0.650, 0.680] | 0.820 [0.810, 0.840] | 97.89 [")
    assert lines[5].startswith("| JumpReLU | 0.650 [0.640, 0.670] | – | ")
    assert lines[5].endswith(" | – |")

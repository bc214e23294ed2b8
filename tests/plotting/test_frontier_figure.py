"""The frontier: a curve per architecture, bars over seeds both ways, and its table."""

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.frontier.draw import frontier
from clip_sae.analyses.frontier.render import frontier_markdown
from clip_sae.plotting.theme import STYLES

CURVES = [(key.split("/")[0], "free" if "/" in key else "unit") for key in STYLES["architecture"]]


def saes(curves=CURVES, l0=(4.0, 8.0, 16.0)):
    """One row per SAE: two seeds of each curve and level."""
    rows = [
        {
            "recipe": f"frontier_{architecture}",
            "architecture": architecture,
            "decoder_norm": norm,
            "knob": "k",
            "knob_value": level,
            "seed": seed,
            "l0": (0.9 + 0.3 * seed) * level,
            "explained_variance": 0.5 + 0.02 * level - 0.01 * number + 0.04 * seed,
            "ce_recovered": 0.99 - 0.1 / (1 + level),
            "n_images": 2000,
            "layer": 3,
            "hook": "resid_post",
        }
        for number, (architecture, norm) in enumerate(curves)
        for level in l0
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("group", ["architecture", "unit"])
def test_every_key_has_its_own_colour_marker_and_name(group):
    styles = STYLES[group].values()
    for part in ("name", "colour", "marker"):
        assert len({getattr(style, part) for style in styles}) == len(styles)


def test_a_line_per_curve_and_bars_to_the_extremes(csv):
    table = saes([("topk", "unit"), ("vanilla", "free")])
    figure = frontier(None, csv=csv(table.sample(frac=1, random_state=0)))
    titles = [ax.get_title("left") for ax in figure.axes]
    assert titles == ["explained variance", "cross-entropy recovered"]
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    by_name = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    assert set(by_name) == {"TopK", "vanilla, free norm"}
    line, _, bars = by_name["TopK"].lines
    x = 1.05 * np.array([4, 8, 16])
    y = 0.52 + 0.02 * np.array([4, 8, 16])
    np.testing.assert_allclose(line.get_xydata().T, [x, y])
    across, up = (np.stack(b.get_segments()) for b in bars)
    np.testing.assert_allclose(across[0][:, 0], [3.6, 4.8])
    np.testing.assert_allclose(up[0][:, 1], [0.58, 0.62])


def test_a_silent_sae_has_no_place_on_the_logarithmic_axis(csv):
    figure = frontier(None, csv=csv(saes([("gated", "unit")], l0=(0.0, 8.0))))
    assert len(figure.axes[0].containers[0].lines[0].get_xdata()) == 1


def test_the_recipe_stands_behind_a_name_that_two_curves_share(csv):
    table = saes([("topk", "unit"), ("gated", "unit")])
    other = table[table.architecture == "topk"].assign(recipe="longer")
    figure = frontier(None, csv=csv(pd.concat([table, other])))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["TopK (frontier_topk)", "gated", "TopK (longer)"]


def test_the_table_has_a_row_per_curve_and_a_dash_for_an_l0_out_of_reach(csv):
    table = saes([("topk", "unit"), ("jumprelu", "unit")], l0=(8.0, 16.0))
    out = (table.architecture == "jumprelu") & (table.knob_value == 16)
    text = frontier_markdown(None, csv=csv(table[~out]), model="demo", levels=[9.6, 14.4])
    lines = text.splitlines()
    assert "SAEs on resid_post of layer 3, demo, 2,000 held-out images" in lines[0]
    assert lines[2] == (
        "| Architecture | Exp. Var. at L0 9.6 | Exp. Var. at L0 14.4 | CE Rec (%) at L0 9.6 "
        "| CE Rec (%) at L0 14.4 |"
    )
    cells = [cell.strip() for cell in lines[4].strip("|").split("|")]
    assert cells[0] == "TopK" and all("[" in cell for cell in cells[1:])
    assert lines[5].startswith("| JumpReLU | 0.690 [0.690, 0.690] | – | 97.")
    assert lines[5].endswith(" | – |")

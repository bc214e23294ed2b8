"""Figs 4 and 8: the figures show the numbers of the tables."""

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.l0.draw import fig4, fig8, token_norms


def positions(layer, side=7):
    patch = np.arange(-1, side * side)
    mean = 10.0 * (layer + 1) + patch
    return pd.DataFrame(
        {
            "layer": layer,
            "token": patch + 1,
            "token_type": ["cls"] + ["patch"] * side * side,
            "row": np.where(patch < 0, -1, patch // side),
            "column": np.where(patch < 0, -1, patch % side),
            "n_images": 1234,
            "mean_l0": mean,
            "whisker_low": mean - 4,
            "q25": mean - 2,
            "median": mean,
            "q75": mean + 2,
            "whisker_high": mean + 4,
        }
    )


@pytest.fixture
def by_token():
    return pd.concat([positions(layer) for layer in range(3)], ignore_index=True)


@pytest.fixture
def by_layer():
    table = pd.DataFrame({"layer": [2, 0, 1], "patch_l0": 300.0, "cls_l0": [40.0, 5.0, 20.0]})
    for name in ("patch_l0", "cls_l0"):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 1, table[name] + 1
    return table.assign(gpt2_l0=[np.nan, 10.0, 18.0])


@pytest.fixture
def panels(by_token, by_layer, csv):
    shuffled = by_token.sample(frac=1, random_state=0)
    figure = fig4(None, tokens=csv(shuffled), layers=csv(by_layer), map_layer=1)
    return figure.axes


def test_the_map_puts_patches_row_major_and_cls_below(panels):
    ax = panels[0]
    assert ax.get_title("left") == "layer 1: mean L0 over 1,234 images"
    np.testing.assert_allclose(ax.images[0].get_array(), 20 + np.arange(49).reshape(7, 7))
    assert ax.get_xlabel() == "CLS 19"


def test_boxes_stand_at_their_tokens(panels, by_token):
    [ax] = [ax for ax in panels if ax.get_title("left").endswith("each token over images")]
    boxes = [patch.get_path().get_extents() for patch in ax.patches]
    centres = sorted(round((box.x0 + box.x1) / 2) for box in boxes)
    assert centres == list(range(50))
    tallest = max(box.y1 for box in boxes)
    assert tallest == by_token[by_token.layer == 1].q75.max()
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["CLS", "7", "14", "21", "28", "35", "42"]


def test_layers_are_drawn_in_order_with_a_gap_for_a_missing_gpt2(panels):
    [ax] = [ax for ax in panels if ax.get_title("left").startswith("L0 by layer")]
    patches, cls, gpt2 = (line.get_ydata() for line in ax.get_lines()[:3])
    np.testing.assert_array_equal(ax.get_lines()[0].get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(cls, [5, 20, 40])
    np.testing.assert_array_equal(gpt2, [10, 18, np.nan])
    assert patches.tolist() == [300] * 3
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "CLIP patches",
        "CLIP CLS",
        "GPT-2 small",
    ]


def test_a_layer_that_was_not_measured_is_refused(by_token, by_layer, csv):
    with pytest.raises(ValueError, match="layer 7 is not in the table; it holds"):
        fig4(None, tokens=csv(by_token), layers=csv(by_layer), map_layer=7)


def test_figure_8_draws_each_layer_once_on_a_scale_of_its_own(by_token, csv):
    figure = fig8(None, tokens=csv(by_token))
    panels = [ax for ax in figure.axes if ax.get_title("center").startswith("layer")]
    assert [ax.get_title("center").split("\n")[0] for ax in panels] == [
        "layer 0",
        "layer 1",
        "layer 2",
    ]
    limits = {ax.images[0].get_clim() for ax in panels}
    assert limits == {(10, 58), (20, 68), (30, 78)}
    assert panels[1].get_title("center").endswith("20 – 68")


def test_a_single_layer_of_norms_can_be_drawn(by_token, csv):
    one = by_token[by_token.layer == 2].assign(mean_norm=7.0)
    figure = token_norms(None, tokens=csv(one))
    assert figure.axes[0].get_xlabel() == "CLS 7"

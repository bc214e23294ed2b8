"""Figs 4 and 8: what is drawn is what the table says."""

import numpy as np
import pytest

from clip_sae.analyses.l0 import draw_maps as l0


def test_the_map_puts_patches_row_major_and_cls_below(by_token, ax):
    shuffled = by_token[by_token.layer == 1].sample(frac=1, random_state=0)
    drawn = l0.plot_map(shuffled, ax).get_array()
    np.testing.assert_allclose(drawn, 20 + np.arange(49).reshape(7, 7))
    assert ax.get_xlabel() == "CLS 19"


def test_a_map_of_two_layers_is_refused(by_token, ax):
    with pytest.raises(ValueError, match=r"a map shows one layer, the table holds \[.*0.*1.*2.*\]"):
        l0.plot_map(by_token, ax)


def test_boxes_stand_at_their_tokens(by_token, ax):
    l0.plot_boxes(by_token[by_token.layer == 0], ax)
    boxes = [patch.get_path().get_extents() for patch in ax.patches]
    centres = sorted(round((box.x0 + box.x1) / 2) for box in boxes)
    assert centres == list(range(50))
    tallest = max(box.y1 for box in boxes)
    assert tallest == by_token[by_token.layer == 0].q75.max()
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["CLS", "7", "14", "21", "28", "35", "42"]


def test_layers_are_drawn_in_order_with_a_gap_where_gpt2_has_none(by_layer, ax):
    l0.plot_by_layer(by_layer, ax)
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


def test_figure_4_has_its_three_panels(by_token, by_layer, tmp_path):
    figure = l0.draw_l0_figure(by_token, by_layer, layer=1)
    titles = [ax.get_title("left") for ax in figure.axes]
    assert "layer 1: mean L0 over 1,234 images" in titles
    figure.savefig(tmp_path / "figure.png")
    with pytest.raises(ValueError, match="layer 7 is not in the table; it holds"):
        l0.draw_l0_figure(by_token, by_layer, layer=7)


@pytest.mark.parametrize("shared", [False, True])
def test_figure_8_draws_each_layer_once(by_token, shared):
    figure = l0.draw_l0_maps(by_token, shared=shared)
    panels = [ax for ax in figure.axes if ax.get_title("center").startswith("layer")]
    assert [ax.get_title("center").split("\n")[0] for ax in panels] == [
        "layer 0",
        "layer 1",
        "layer 2",
    ]
    limits = {ax.images[0].get_clim() for ax in panels}
    assert limits == ({(10, 78)} if shared else {(10, 58), (20, 68), (30, 78)})
    if not shared:
        assert panels[1].get_title("center").endswith("20 – 68")


def test_a_single_layer_and_another_value_can_be_drawn(by_token):
    one = by_token[by_token.layer == 2].assign(mean_norm=7.0)
    figure = l0.draw_l0_maps(one, value="mean_norm", label="‖x‖")
    assert figure.axes[0].get_xlabel() == "CLS 7"

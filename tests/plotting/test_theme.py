"""Colours, labels and files that do not change from run to run."""

import numpy as np
import pandas as pd
import pytest

from clip_sae.plotting import theme
from clip_sae.plotting.panels import panel_names, power


def test_equal_data_give_equal_files(tmp_path):
    def write(name):
        figure = theme.new_figure(3, 2)
        figure.subplots().plot([1, 2], [3, 4])
        theme.save(figure, tmp_path / f"{name}.png", tmp_path / f"{name}.svg")

    write("a")
    write("b")
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_layers_get_distinct_colours_darker_than_paper():
    colours = theme.layer_colours([3, 1, 1, 11])
    assert list(colours) == [1, 3, 11]
    assert len(set(colours.values())) == 3
    assert all(np.dot(colour[:3], [0.3, 0.6, 0.1]) < 0.8 for colour in colours.values())


@pytest.mark.parametrize(
    ("value", "text"), [(1e-5, "1e-5"), (3.16e-4, "3.2e-4"), (1.0, "1e0"), (1e-12, "1e-12")]
)
def test_powers_are_short(value, text):
    assert power(value) == text


def test_items_that_share_a_name_are_told_apart():
    kinds = {"none": "none", "coop": "coop", "maple": "maple", "deep": "maple", "mine": "new"}
    names = {m: style.name for m, style in theme.method_styles(list(kinds), kinds).items()}
    assert names == {
        "none": "zero-shot",
        "coop": "CoOp",
        "maple": "MaPLe (maple)",
        "deep": "MaPLe (deep)",
        "mine": "new",  # a kind without a style has its own name
    }


def test_a_panel_is_named_once_however_the_table_says_it():
    table = pd.DataFrame(
        {
            "recipe": ["vanilla", "topk", "topk/k-16", "topk/k-16"],
            "variant": ["base", "k-16", "k-16", "base"],
        },
        index=[5, 5, 6, 7],
    )
    names = ["vanilla", "topk\nk-16", "topk\nk-16", "topk\nk-16"]
    assert panel_names(table).tolist() == names
    assert panel_names(table[["recipe"]]).tolist() == [
        "vanilla",
        "topk",
        "topk\nk-16",
        "topk\nk-16",
    ]

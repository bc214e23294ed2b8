"""Colours, labels and files that do not change from run to run."""

import numpy as np
import pandas as pd
import pytest

from clip_sae.plotting import theme


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
    assert theme.power(value) == text


def test_a_missing_column_and_an_empty_table_are_named():
    table = pd.DataFrame({"layer": [0], "l0": [1.0]})
    with pytest.raises(ValueError, match="the map needs the column 'token'; the table has layer"):
        theme.require_columns(table, ["layer", "token"], "the map")
    with pytest.raises(ValueError, match="the map needs at least one row"):
        theme.require_columns(table.head(0), ["layer"], "the map")


def test_a_panel_is_named_once_however_the_table_says_it():
    table = pd.DataFrame(
        {
            "recipe": ["vanilla", "topk", "topk/k-16", "topk/k-16"],
            "variant": ["base", "k-16", "k-16", "base"],
        },
        index=[5, 5, 6, 7],
    )
    names = ["vanilla", "topk\nk-16", "topk\nk-16", "topk\nk-16"]
    assert theme.panel_names(table).tolist() == names
    assert theme.panel_names(table[["recipe"]]).tolist() == [
        "vanilla",
        "topk",
        "topk\nk-16",
        "topk\nk-16",
    ]

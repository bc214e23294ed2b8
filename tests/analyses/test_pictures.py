"""Choices of the pictures: the set, its units, the image."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_sae.analyses.pictures.measure import largest_by_side, shown_rows
from clip_sae.analyses.pictures.pictured import (
    example_image,
    example_row,
    pictured_set,
    strongest_units,
    top_classes,
)


def summary(*rows):
    """Rows (condition, units, layer, n_units, val_worst, val_overall) of a summary."""
    columns = ["condition", "units", "layer", "n_units", "val_worst", "val_overall"]
    table = pd.DataFrame(rows, columns=columns)
    kind = np.where(table["units"] == "neurons", "neuron", "latent")
    return table.assign(kind=kind, split="test")


def test_the_set_is_the_best_strict_one_that_is_not_empty():
    table = summary(
        ("strict", "vanilla", 3, 0, 0.9, 0.9),
        ("strict", "vanilla", 4, 5, 0.7, 0.9),
        ("strict", "topk", 4, 9, 0.8, 0.8),
        ("strict", "topk", 2, 7, 0.8, 0.8),
        ("strict", "neurons", 4, 3, 1.0, 1.0),
        ("relaxed", "vanilla", 5, 5, 0.95, 0.9),
    )
    chosen = pictured_set(table, ["vanilla", "topk"])
    assert (chosen["units"], chosen["layer"]) == ("topk", 2)  # of equals, the earlier layer
    assert pictured_set(table, ["vanilla"])["layer"] == 4


def test_without_a_strict_set_the_relaxed_one_is_shown_and_without_either_none():
    table = summary(("strict", "vanilla", 3, 0, 0.9, 0.9), ("relaxed", "vanilla", 5, 5, 0.7, 0.9))
    assert pictured_set(table, ["vanilla"])["condition"] == "relaxed"
    assert pictured_set(table.assign(n_units=0), ["vanilla"]) is None
    on_validation = table.assign(split="val")
    assert pictured_set(on_validation, ["vanilla"]) is None


@given(
    gap=st.lists(st.integers(-5, 5), min_size=1, max_size=12),
    n=st.integers(1, 5),
    seed=st.integers(0, 100),
)
def test_units_of_a_side_have_the_largest_gaps(gap, n, seed):
    gap = np.array(gap, dtype=float)
    rng = np.random.default_rng(seed)
    units = np.sort(rng.permutation(len(gap))[: rng.integers(0, len(gap) + 1)])
    found = largest_by_side(gap, units, n)
    for side, sign in (("a", 1), ("not_a", -1)):
        score = [(-sign * gap[unit], unit) for unit in units if sign * gap[unit] > 0]
        assert found[side].tolist() == [unit for _, unit in sorted(score)][:n]


def test_shown_rows_stop_where_a_unit_has_no_more_images():
    row = np.array([[7, 3], [4, -1], [-1, -1]])
    value = np.array([[2.0, 1.0], [0.5, -np.inf], [-np.inf, -np.inf]])
    table = shown_rows([1, 0, 2], np.array([0.1, 0.2, 0.3]), {1}, row, value, np.array([5, 1, 0]))
    assert table["unit"].tolist() == [1, 0, 0] and table["row"].tolist() == [4, 7, 3]
    assert table["place"].tolist() == [0, 0, 1] and table["in_set"].tolist() == [True, False, False]
    assert table["gap"].tolist() == [0.2, 0.1, 0.1] and table["n_active"].tolist() == [1, 5, 5]
    assert np.isfinite(table["value"]).all()
    assert list(shown_rows([2], np.ones(3), set(), row, value, np.ones(3)).columns) == list(table)


def test_the_example_is_corrected_and_rises_most():
    label = np.array([0, 0, 0, 1])
    before = np.array([[0.4, 0.6], [0.1, 0.9], [0.45, 0.55], [0.0, 1.0]])
    after = np.array([[0.6, 0.4], [0.45, 0.55], [0.9, 0.1], [0.9, 0.1]])
    assert example_image(before, after, label) == 2  # 1 rises more than 0, and stays wrong
    assert example_image(before, after, label, np.array([True, True, False, True])) == 0
    assert example_image(before, after, label, np.array([False, True, False, True])) == 1
    with pytest.raises(ValueError, match="no image may be shown"):
        example_image(before, after, label, np.zeros(4, dtype=bool))


def test_strongest_units_are_those_of_the_set_that_are_active():
    values = np.array([[1.0, 0.0, 9.0, 3.0], [3.0, 0.0, 9.0, 3.0]])  # [token unit]
    assert strongest_units(values, np.array([0, 1, 3]), 5).tolist() == [3, 0]
    assert strongest_units(values, np.array([0, 1, 3]), 1).tolist() == [3]
    assert strongest_units(values[:1], np.array([0, 3]), 2).tolist() == [3, 0]


def test_top_classes_are_sorted_and_named():
    assert top_classes(np.array([0.2, 0.5, 0.3]), ["a", "b", "c"], 2) == [["b", 0.5], ["c", 0.3]]


def test_a_requested_example_must_exist():
    manifest = pd.DataFrame({"path": ["x.png", "y.png"]}, index=[5, 6])
    assert example_row(manifest, "y.png", np.array([5, 6])).tolist() == [6]
    with pytest.raises(ValueError, match="'y.png' is no image of the shown split.* e.g. 'x.png'"):
        example_row(manifest, "y.png", np.array([5]))

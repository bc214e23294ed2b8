"""Halves of a class list and the few images of the first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_sae.adaptation.few_shot import ClassHalves, choose_shots, epoch_order


@pytest.mark.parametrize(("n", "base"), [(2, 1), (3, 2), (24, 12), (101, 51)])
def test_the_first_half_is_base_and_the_odd_class_with_it(n, base):
    halves = ClassHalves(n)
    assert len(halves.base) == base
    np.testing.assert_array_equal(np.flatnonzero(~halves.novel_classes), halves.base)
    assert len(halves.novel_classes) == n


def test_one_class_cannot_be_halved():
    with pytest.raises(ValueError, match="at least 2 classes; found 1"):
        ClassHalves(1)


@given(
    labels=st.lists(st.integers(0, 3), min_size=40, max_size=80),
    shots=st.integers(1, 6),
    seed=st.integers(0, 5),
)
def test_shots_are_drawn_class_by_class_without_replacement(labels, shots, seed):
    labels = np.array([*labels, 0, 1, 2, 3])
    rows, fewer = choose_shots(labels, [0, 2], shots, seed)
    assert len(set(rows)) == len(rows)
    for name in (0, 2):
        found, there = (labels[rows] == name).sum(), (labels == name).sum()
        assert found == min(shots, there)
        assert fewer.get(name) == (there if there < shots else None)
    assert set(labels[rows]) == {0, 2}
    # Another class in the list changes nothing for the others.
    alone, _ = choose_shots(labels, [2], shots, seed)
    np.testing.assert_array_equal(alone, rows[labels[rows] == 2])


def test_another_seed_draws_other_shots():
    labels = np.repeat([0, 1], 100)
    first, again, other = (choose_shots(labels, [0, 1], 8, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_a_class_without_images_is_told():
    with pytest.raises(ValueError, match="class 1 has no training image"):
        choose_shots(np.array([0, 0, 2]), [0, 1], 1, 0)


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    orders = [epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert all(sorted(order) == list(range(50)) for order in orders)
    np.testing.assert_array_equal(epoch_order(50, 1, 0), orders[2])

"""Groups, their accuracies, and the balanced choice of images."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.shared.groups import (
    Groups,
    Scores,
    balanced_rows,
    count_correct,
    read_groups,
    train_counts,
)


def manifest(labels, attribute):
    return pd.DataFrame({"label_idx": labels, "attr_water": attribute, "attr_sky": 1})


def all_groups(seed, n=40):
    """Labels and attributes of n images, at least one in each group."""
    rng = np.random.default_rng(seed)
    label, attribute = rng.integers(0, 2, (2, n))
    label[:4], attribute[:4] = [0, 0, 1, 1], [0, 1, 0, 1]
    return Groups(label, attribute)


def test_groups_are_numbered_as_the_benchmark_numbers_them():
    groups = read_groups(manifest([0, 0, 1, 1], [0, 1, 0, 1]), "water")
    assert groups.group.tolist() == [0, 1, 2, 3]
    assert groups.at(np.array([3, 0])).group.tolist() == [3, 0]


def test_training_counts_leave_out_other_splits_and_unreadable_images():
    table = manifest([0, 0, 1, 1, 1], [0, 1, 0, 1, 1])
    table["split"] = ["train", "train", "train", "train", "test"]
    table["status"] = ["ok", "ok", "skipped", "ok", "ok"]
    assert train_counts(table, read_groups(table, "water")).tolist() == [1, 1, 0, 1]


def test_unknown_attribute_is_in_no_group():
    assert Groups(np.array([0, 1]), np.array([-1, 1])).group.tolist() == [-1, 3]


def test_missing_attribute_says_which_there_are():
    with pytest.raises(ValueError, match="'watr'; it has water, sky"):
        read_groups(manifest([0], [0]), "watr")


@pytest.mark.parametrize("labels,attribute", [([0, 2], [0, 1]), ([0, 1], [0, 3])])
def test_more_than_two_values_are_refused(labels, attribute):
    with pytest.raises(ValueError, match="two classes and one binary attribute"):
        read_groups(manifest(labels, attribute), "water")


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_group_accuracies_add_up_to_the_overall_one(seed):
    groups = all_groups(seed)
    right = np.random.default_rng(seed + 1).random((3, len(groups))) < 0.6
    total = np.bincount(groups.group, minlength=4)
    scores = Scores(count_correct(right, groups.group), total, np.array([5, 1, 1, 3]))
    shares = total / total.sum()
    assert np.allclose((scores.accuracy * shares).sum(-1), right.mean(-1), atol=1e-15)
    assert np.array_equal(scores.overall, right.mean(-1))
    by_hand = [[row[groups.group == g].mean() for g in range(4)] for row in right]
    assert np.allclose(scores.accuracy, by_hand)
    assert np.allclose(scores.worst, np.min(by_hand, axis=1))
    assert np.allclose(scores.group_mean, np.mean(by_hand, axis=1))
    assert np.allclose(scores.adjusted, np.asarray(by_hand) @ [0.5, 0.1, 0.1, 0.3])
    assert (scores.worst <= scores.group_mean + 1e-12).all()


def test_columns_hold_counts_for_every_set():
    scores = Scores(np.array([[1, 2, 3, 4], [0, 0, 0, 0]]), np.full(4, 4), np.ones(4))
    table = pd.DataFrame(scores.columns())
    assert table["right_2"].tolist() == [3, 0] and table["n_2"].tolist() == [4, 4]
    assert table["overall"].tolist() == [10 / 16, 0]


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_balanced_rows_hold_each_group_equally_often(seed):
    groups = all_groups(seed)
    rows = np.random.default_rng(seed).permutation(len(groups))
    kept = balanced_rows(groups, rows, seed)
    smallest = np.bincount(groups.group, minlength=4).min()
    assert np.bincount(groups.at(kept).group, minlength=4).tolist() == [smallest] * 4
    assert len(set(kept)) == len(kept) and (np.diff(kept) > 0).all()
    assert np.array_equal(kept, balanced_rows(groups, np.sort(rows), seed))  # no order matters


def test_balanced_rows_take_the_smallest_group_whole_and_change_with_the_seed():
    groups = all_groups(1, n=200)
    counts = np.bincount(groups.group)
    rows = np.arange(200)
    drawn = [balanced_rows(groups, rows, seed) for seed in range(3)]
    whole = rows[groups.group == counts.argmin()]
    assert all(set(whole) <= set(kept.tolist()) for kept in drawn)
    assert not np.array_equal(drawn[0], drawn[1])


def test_a_split_without_one_of_the_groups_cannot_be_balanced():
    with pytest.raises(ValueError, match="images: full"):
        balanced_rows(Groups(np.array([0, 0, 1]), np.array([0, 1, 1])), np.arange(3), 0)

"""The strict and the relaxed condition, as written, and blind to the test split."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.shared.names import CONDITIONS
from clip_sae.analyses.suppression.choose import choose

N = (40, 20, 10, 20)  # images per group


def rows_of(*sets, split="val"):
    """A row per set: (tau_high, right answers of each group); the first is the empty set."""
    table = []
    for i, (tau, right) in enumerate(sets):
        accuracy = np.divide(right, N)
        row = {"split": split, "n_units": i, "tau_high": tau, "name": i}
        row |= {"overall": np.sum(right) / np.sum(N), "worst": accuracy.min()}
        for g in range(4):
            row |= {f"right_{g}": right[g], f"n_{g}": N[g]}
        table.append(row)
    return pd.DataFrame(table)


BASE = (np.inf, (40, 10, 5, 20))


def chosen(condition, *sets):
    rows = rows_of(BASE, *sets)
    return rows.loc[choose(rows, condition), "name"]


def test_nothing_better_gives_the_empty_set():
    worse = (0.1, (40, 10, 4, 20))
    assert chosen("strict", worse) == 0 and chosen("relaxed", worse) == 0
    assert chosen("strict") == 0 and chosen("relaxed") == 0


def test_strict_needs_both_scores_and_then_takes_the_highest_worst_group():
    lower_overall = (1.0, (30, 12, 9, 15))
    better = (0.5, (40, 12, 6, 20))
    best = (0.1, (39, 14, 7, 20))
    assert chosen("strict", lower_overall, better, best) == 3
    assert chosen("strict", lower_overall, better) == 2


def test_ties_go_to_the_higher_overall_and_then_to_the_larger_threshold():
    one, two = (1.0, (40, 12, 6, 20)), (0.5, (40, 13, 6, 20))
    assert chosen("strict", one, two) == 2  # the same worst group, more right overall
    assert chosen("strict", (0.1, (40, 12, 6, 20)), one) == 2  # equal: the larger tau
    assert chosen("strict", one, (0.1, (40, 12, 6, 20))) == 1


def test_a_tie_with_the_baseline_keeps_the_empty_set():
    assert chosen("strict", (1.0, BASE[1])) == 0
    assert chosen("relaxed", (1.0, BASE[1])) == 0


def test_relaxed_lets_no_other_group_lose_more_than_four_points():
    # groups 1 and 2 tie for the worst of the baseline: the first is the target
    loses_five = (0.5, (38, 16, 8, 19))  # group 0 and 3: −5 points
    loses_two = (0.1, (39, 13, 6, 20))  # group 0: −2.5 points
    assert chosen("relaxed", loses_five, loses_two) == 2
    assert chosen("relaxed", loses_five) == 0


def test_exactly_four_points_are_allowed_whatever_floating_point_says():
    rows = rows_of(BASE, (0.1, BASE[1]))
    for g in range(4):
        rows[f"n_{g}"], rows.loc[0, f"right_{g}"] = 100, (95, 50, 60, 95)[g]
        rows.loc[1, f"right_{g}"] = (91, 60, 60, 95)[g]  # 0.95 − 0.91 > 0.04 in floating point
    rows["worst"], rows["overall"] = [0.5, 0.6], [0.75, 0.765]
    assert rows.loc[choose(rows, "relaxed"), "name"] == 1
    rows.loc[1, "right_0"] = 90
    assert rows.loc[choose(rows, "relaxed"), "name"] == 0


def test_relaxed_takes_the_least_of_all_four_groups_not_the_target_alone():
    target_only = (1.0, (40, 20, 5, 20))  # the target, group 1, at 1.0; group 2 still at 0.5
    both = (0.1, (40, 12, 6, 20))  # both at 0.6
    assert chosen("relaxed", target_only, both) == 2


def slow_twin(rows, condition, points=0.04):
    """The conditions once more, set by set, in words of their definition."""
    val = rows[rows["split"] == "val"]
    base = val[val["n_units"] == 0].iloc[0]
    accuracy = lambda row: [row[f"right_{g}"] / row[f"n_{g}"] for g in range(4)]  # noqa: E731
    target = int(np.argmin(accuracy(base)))
    best = None
    for label, row in val.iterrows():
        if condition == "strict":
            fine = row["overall"] >= base["overall"] and row["worst"] >= base["worst"]
        else:
            drops = [b - a for a, b in zip(accuracy(row), accuracy(base), strict=True)]
            fine = all(d <= points + 1e-9 for g, d in enumerate(drops) if g != target)
        key = (row["worst"], row["overall"], row["tau_high"])
        if fine and (best is None or key > best[0]):
            best = key, label
    return best[1]


right = st.tuples(*(st.integers(n // 2, n) for n in N))
sets = st.lists(right, min_size=0, max_size=12).map(
    lambda found: [(1.0 / (i + 1), counts) for i, counts in enumerate(found)]
)


@given(right, sets, st.sampled_from(CONDITIONS))
@settings(max_examples=150, deadline=None)
def test_choice_is_that_of_the_definition(base, others, condition):
    rows = rows_of((np.inf, base), *others)
    assert choose(rows, condition) == slow_twin(rows, condition)


@given(right, sets, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_poisoned_test_rows_change_no_choice(base, others, seed):
    clean = rows_of((np.inf, base), *others)
    rng = np.random.default_rng(seed)
    poison = rows_of((np.inf, base), *others, split="test")
    numbers = [c for c in poison if poison[c].dtype.kind in "if" and c != "name"]
    bad = rng.choice([np.nan, np.inf, -1.0, 1e9], (len(poison), len(numbers)))
    poison[numbers] = bad
    both = pd.concat([poison, clean, poison]).reset_index(drop=True)
    for condition in CONDITIONS:
        label = choose(both, condition)
        assert both.loc[label, "split"] == "val"
        assert both.loc[label, "name"] == clean.loc[choose(clean, condition), "name"]


def test_a_table_without_the_empty_set_is_refused():
    with pytest.raises(ValueError, match="no empty set"):
        choose(rows_of(BASE, split="test"), "strict")
    with pytest.raises(ValueError, match="'lax' does not exist; write strict, relaxed"):
        choose(rows_of(BASE), "lax")


def test_order_of_rows_does_not_matter():
    sets = [BASE, (1.0, (40, 12, 6, 20)), (0.5, (40, 13, 6, 20)), (0.1, (38, 14, 9, 20))]
    rows = rows_of(*sets)
    for order in itertools.permutations(range(4)):
        mixed = rows.iloc[list(order)].reset_index(drop=True)
        for condition in CONDITIONS:
            found = mixed.loc[choose(mixed, condition), "name"]
            assert found == rows.loc[choose(rows, condition), "name"]

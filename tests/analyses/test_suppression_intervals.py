"""Intervals from counts are those of resampling images; McNemar's p is that of a coin."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.shared.groups import SCORES, Scores, count_correct
from clip_sae.analyses.suppression.intervals import change_intervals, mcnemar, score_intervals

TRAIN = np.array([70, 4, 2, 24])


def example(seed=0, n=400):
    rng = np.random.default_rng(seed)
    group = rng.choice(4, n, p=[0.4, 0.3, 0.1, 0.2])
    before = rng.random(n) < np.array([0.95, 0.6, 0.5, 0.9])[group]
    after = np.where(rng.random(n) < 0.8, before, rng.random(n) < 0.8)
    return group, before, after


def resampled(group, arrays, n, seed):
    """Draw images within each group, over and over: [resample] of Scores per array."""
    rng = np.random.default_rng(seed)
    total = np.bincount(group, minlength=4)
    found = [[] for _ in arrays]
    for _ in range(n):
        drawn = np.concatenate([rng.choice(np.flatnonzero(group == g), total[g]) for g in range(4)])
        for scores, array in zip(found, arrays, strict=True):
            scores.append(Scores(count_correct(array[drawn], group[drawn]), total, TRAIN))
    return found


def test_intervals_from_counts_are_those_of_resampled_images():
    group, before, after = example()
    total = np.bincount(group)
    slow_before, slow_after = resampled(group, (before, after), 1500, seed=1)
    fast = score_intervals(Scores(count_correct(after, group), total, TRAIN), n_resamples=20_000)
    change = change_intervals(before, after, group, TRAIN, n_resamples=20_000)
    for name in SCORES:
        draws = np.array([getattr(scores, name) for scores in slow_after])
        assert np.allclose(np.quantile(draws, [0.025, 0.975]), fast[name], atol=0.012), name
        shifts = draws - [getattr(scores, name) for scores in slow_before]
        assert np.allclose(np.quantile(shifts, [0.025, 0.975]), change[name][1:], atol=0.012), name


def test_changes_are_exact_and_paired_intervals_are_narrower():
    group, before, after = example()
    total = np.bincount(group)
    scores = [Scores(count_correct(bits, group), total, TRAIN) for bits in (before, after)]
    change = change_intervals(before, after, group, TRAIN)
    for name in SCORES:
        expected = getattr(scores[1], name) - getattr(scores[0], name)
        assert np.isclose(change[name][0], expected)
        assert change[name][1] <= change[name][0] <= change[name][2]
    low, high = score_intervals(scores[1])["overall"]
    assert change["overall"][2] - change["overall"][1] < high - low


def test_no_change_has_no_width():
    group, before, _ = example()
    assert all(c == (0, 0, 0) for c in change_intervals(before, before, group, TRAIN).values())


def test_intervals_are_seeded():
    group, _, after = example()
    scores = Scores(count_correct(after, group), np.bincount(group), TRAIN)
    assert score_intervals(scores, seed=3) == score_intervals(scores, seed=3)
    assert score_intervals(scores, seed=3) != score_intervals(scores, seed=4)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_mcnemar_is_the_exact_binomial_test(lost, gained, same):
    from scipy.stats import binomtest

    before = np.r_[np.ones(lost, bool), np.zeros(gained, bool), np.ones(same, bool)]
    after = np.r_[np.zeros(lost, bool), np.ones(gained, bool), np.ones(same, bool)]
    found = mcnemar(before, after)
    assert found[:2] == (lost, gained)
    expected = 1.0 if lost + gained == 0 else binomtest(lost, lost + gained).pvalue
    assert np.isclose(found[2], expected, rtol=1e-9)


def test_mcnemar_by_hand():
    # 1 lost, 7 gained of 8 changes: 2 (C(8,0) + C(8,1)) / 2^8
    before = np.r_[np.ones(1, bool), np.zeros(7, bool)]
    assert mcnemar(before, ~before) == (1, 7, 2 * 9 / 256)

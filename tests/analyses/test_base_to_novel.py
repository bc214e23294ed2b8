"""Accuracies on base and novel classes against a slow twin, and the cover of their intervals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_sae.analyses.adaptation.keys import FROZEN
from clip_sae.analyses.adaptation.measure import GROUPS, answers_of, run_accuracies, summarise

IS_NOVEL = np.array([False, False, False, True, True])


def run_of(seed, n=400, noise=1.0):
    """Answers of a model that sees the true class through noise; each class equally often."""
    labels = np.arange(n) % 5
    rng = np.random.default_rng(seed)
    similarity = np.eye(5)[labels] + noise * rng.normal(size=(n, 5))
    return answers_of(similarity, labels, IS_NOVEL)


@given(seed=st.integers(0, 50))
def test_answers_and_accuracies_equal_a_slow_twin(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 3], rng.integers(0, 5, 20)])
    similarity = rng.normal(size=(22, 5))
    right = {"base": [], "novel": [], "all": []}
    for row, label in zip(similarity, labels, strict=True):
        half = [c for c in range(5) if IS_NOVEL[c] == IS_NOVEL[label]]
        best = max(half, key=lambda c: row[c])
        right["novel" if IS_NOVEL[label] else "base"].append(best == label)
        right["all"].append(int(np.argmax(row)) == label)
    base, novel, whole = (np.mean(right[key]) for key in ("base", "novel", "all"))
    harmonic = 0.0 if base + novel == 0 else 2 * base * novel / (base + novel)
    found = run_accuracies(answers_of(similarity, labels, IS_NOVEL), IS_NOVEL)
    assert found == pytest.approx(
        {"base": base, "novel": novel, "harmonic_mean": harmonic, "all": whole}
    )


def test_the_summary_holds_means_over_seeds_and_paired_gains():
    runs = {FROZEN: [run_of(0)], "maple": [run_of(seed, noise=0.6) for seed in (1, 2, 3)]}
    table = summarise(runs, IS_NOVEL, n_resamples=200).set_index(["method", "group"])
    each = pd.DataFrame([run_accuracies(run, IS_NOVEL) for run in runs["maple"]])
    for group in ("base", "novel", "all"):
        row = table.loc["maple", group]
        assert row.accuracy == pytest.approx(each[group].mean())
        assert row.sd == pytest.approx(each[group].std())
        assert row.gain == pytest.approx(row.accuracy - table.loc[FROZEN, group].accuracy)
    means = each[["base", "novel"]].mean()
    harmonic = 2 * means.prod() / means.sum()
    assert table.loc["maple", "harmonic_mean"].accuracy == pytest.approx(harmonic)
    assert (table.loc[FROZEN, ["gain", "gain_low", "gain_high"]] == 0).all(axis=None)
    assert np.isnan(table.loc[FROZEN, "sd"]).all()
    assert (table.accuracy_low < table.accuracy).all()
    assert (table.accuracy < table.accuracy_high).all()
    assert list(table.loc["maple"].n_images) == [240, 160, 400, 400]
    assert list(table.loc["maple"].index) == list(GROUPS)


def test_intervals_cover_images_and_seeds():
    """Seeds that agree leave the binomial spread; seeds that differ widen it."""
    frozen = run_of(0, noise=0.8)
    agree = summarise({FROZEN: [frozen], "a": [frozen] * 3}, IS_NOVEL).set_index(
        ["method", "group"]
    )
    row = agree.loc["a", "all"]
    expected = 1.96 * np.sqrt(row.accuracy * (1 - row.accuracy) / 400)
    assert (row.accuracy_high - row.accuracy_low) / 2 == pytest.approx(expected, rel=0.15)
    assert row.gain_low == row.gain_high == 0  # the same answers on the same images
    differ = [run_of(seed, noise=noise) for seed, noise in enumerate((0.3, 0.8, 2.0))]
    wide = summarise({FROZEN: [frozen], "a": differ}, IS_NOVEL).set_index(["method", "group"])
    both = (wide, agree)
    widths = [t.loc["a", "all"].accuracy_high - t.loc["a", "all"].accuracy_low for t in both]
    assert widths[0] > 2 * widths[1]


def test_another_method_changes_no_interval():
    runs = {FROZEN: [run_of(0)], "maple": [run_of(seed, noise=0.6) for seed in (1, 2, 3)]}
    one = summarise(runs, IS_NOVEL, n_resamples=50)
    other = {FROZEN: runs[FROZEN], "coop": [run_of(4), run_of(5)], "maple": runs["maple"]}
    two = summarise(other, IS_NOVEL, n_resamples=50)
    kept = two[two["method"] != "coop"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, one)


def test_other_images_and_empty_halves_are_refused():
    with pytest.raises(ValueError, match="'maple' answer other images"):
        summarise({FROZEN: [run_of(0)], "maple": [run_of(0, n=300)]}, IS_NOVEL)
    with pytest.raises(ValueError, match="of base and of novel classes"):
        summarise({FROZEN: [run_of(0)]}, np.zeros(5, bool))

"""Expected words among some of the units: the closed form against every choice."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.steering.gathered_tables import expected_coverage, rarefaction_table


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=8))
def test_expected_coverage_is_the_mean_over_every_choice(words):
    named, n = [word for word in words if word], len(words)
    sizes = np.arange(n + 1)
    expected = [
        np.mean([len({w for w in chosen if w}) for chosen in combinations(words, int(size))])
        for size in sizes
    ]
    np.testing.assert_allclose(expected_coverage(named, n, sizes), expected, atol=1e-12)


def test_many_units_do_not_overflow():
    named = np.repeat(np.arange(500), 30)
    found = expected_coverage(named, 49_152, np.array([1, 49_152 // 2, 49_152]))
    assert found[0] == pytest.approx(len(named) / 49_152)
    assert 499.9 < found[1] < found[2] == pytest.approx(500)


def test_mistakes_in_sizes():
    for named, sizes in ((["a"] * 3, [1]), (["a"], [3]), (["a"], [-1])):
        with pytest.raises(ValueError, match="of 2 units; neither can be more than 2"):
            expected_coverage(named, 2, np.array(sizes))


def units(layer, kind, words, s, strength="150.0"):
    return pd.DataFrame({"layer": layer, "kind": kind, "label": kind, "strength": strength,
                         "steerability": s, "top_words": [f"{w}|o" for w in words]})  # fmt: skip


def test_the_table_has_each_layer_and_all_and_counts_only_units_above_beta():
    table = pd.concat(
        [
            units(0, "latent", ["x", "x", "y", "z"], [0.9, 0.2, 0.11, 0.1]),
            units(1, "latent", ["x", "w"], [0.5, 0.5]),
            units(0, "neuron", ["v", "v"], [0.5, 0.05]),
            units(0, "latent", ["q"], [0.9], strength="inf"),
        ]
    )
    found = rarefaction_table(table, strength="150.0", beta=0.1, seed=0)
    last = found.groupby(["kind", "layer"]).tail(1).set_index(["kind", "layer"])
    assert last.n_units.to_dict() == {("latent", "0"): 4, ("latent", "1"): 2,
                                      ("latent", "all"): 6, ("neuron", "0"): 2,
                                      ("neuron", "all"): 2}  # fmt: skip
    assert last.expected_coverage[("latent", "0")] == pytest.approx(2)  # x, y; z is not above β
    assert last.expected_coverage[("latent", "all")] == pytest.approx(3)
    np.testing.assert_allclose(last.low, last.expected_coverage)
    np.testing.assert_allclose(last.high, last.expected_coverage)
    assert (found.low <= found.expected_coverage + 1e-9).all()
    assert (found.expected_coverage <= found.high + 1e-9).all()
    first = found[(found.kind == "latent") & (found.layer == "0")].iloc[0]
    assert (first.n_units, first.expected_coverage) == (1, pytest.approx(3 / 4))
    again = rarefaction_table(table, strength="150.0", beta=0.1, seed=0)
    pd.testing.assert_frame_equal(found, again)


def test_the_band_holds_most_random_choices():
    rng = np.random.default_rng(0)
    words = rng.integers(0, 60, 200).astype(str)
    table = units(0, "latent", words, np.full(200, 0.5))
    found = rarefaction_table(table, strength="150.0", beta=0.1, seed=1).query("layer == '0'")
    middle = found.iloc[(found.n_units - 60).abs().argmin()]
    seen = [len(set(rng.choice(words, middle.n_units, replace=False))) for _ in range(300)]
    inside = np.mean([(middle.low <= n <= middle.high) for n in seen])
    assert 0.9 < inside <= 1 and middle.high - middle.low < 15
    assert np.mean(seen) == pytest.approx(middle.expected_coverage, abs=0.6)

"""Means over seeds and values at equal L0, against a slow twin that walks through the rows."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.frontier.curves import at_equal_l0, over_seeds

ROW = {"recipe": "r", "architecture": "topk", "decoder_norm": "unit", "knob": "k"}


def sweep(l0, quality, *, seed=0, **other):
    values = range(len(l0))
    rows = zip(values, l0, quality, strict=True)
    return pd.DataFrame(
        {**ROW, "knob_value": v, "seed": seed, "l0": x, "explained_variance": y, "ce_recovered": -y}
        | other
        for v, x, y in rows
    )


def slow_reading(points: list[tuple[float, float]], level: float) -> float:
    """The straight line in log L0 between the two points around `level`."""
    for (left, below), (right, above) in zip(points, points[1:], strict=False):
        if left <= level <= right:
            share = math.log(level / left) / math.log(right / left)
            return (1 - share) * below + share * above
    return math.nan


def test_the_points_of_a_curve_are_means_with_the_extremes_of_their_seeds():
    table = pd.concat([sweep([9, 4], [0.8, 0.6]), sweep([11, 2], [0.9, 0.5], seed=1)])
    points = over_seeds(table)
    assert points.l0.tolist() == [3, 10]  # along the curve, whatever the order of the rows
    assert points.knob_value.tolist() == [1, 0]
    assert points.n_seeds.tolist() == [2, 2]
    np.testing.assert_allclose(points.explained_variance, [0.55, 0.85])
    np.testing.assert_allclose(points[["l0_low", "l0_high"]], [[2, 4], [9, 11]])
    np.testing.assert_allclose(points[["ce_recovered_low", "ce_recovered_high"]],
                               [[-0.6, -0.5], [-0.9, -0.8]])  # fmt: skip


def test_curves_keep_apart_and_in_order():
    table = pd.concat(
        [
            sweep([8, 4], [0.8, 0.6], architecture="vanilla", decoder_norm="free"),
            sweep([8, 4], [0.8, 0.6], architecture="vanilla"),
            sweep([8, 4], [0.8, 0.6], recipe="another"),
        ]
    )
    points = over_seeds(table)
    assert len(points) == 6
    assert points.decoder_norm.tolist() == ["free", "free", "unit", "unit", "unit", "unit"]
    assert points.recipe.tolist() == ["r", "r", "r", "r", "another", "another"]


def test_an_sae_without_finite_values_counts_for_nothing():
    table = pd.concat([sweep([4, 8], [0.6, 0.8]), sweep([5, 8], [np.nan, 0.9], seed=1)])
    points = over_seeds(table)
    assert points.n_seeds.tolist() == [1, 2]
    assert points.l0.tolist() == [4, 8]
    [reading] = at_equal_l0(table, [6.0]).itertuples()
    assert reading.n_seeds == 1  # the other seed has one SAE left, whose range is a point


def test_readings_are_nan_outside_the_range_and_count_the_seeds_inside():
    table = pd.concat([sweep([4, 16], [0.6, 0.8]), sweep([2, 8], [0.5, 0.7], seed=1)])
    readings = at_equal_l0(table, [1, 2, 8, 16, 32]).set_index("l0")
    assert readings.n_seeds.tolist() == [0, 1, 2, 1, 0]
    assert readings.loc[8, "explained_variance"] == pytest.approx(0.7)
    assert np.isnan(readings.loc[[1, 32], "explained_variance"]).all()


def test_a_level_without_a_logarithm_is_refused():
    with pytest.raises(ValueError, match=r"L0 levels are \[0\]; each must be > 0"):
        at_equal_l0(sweep([4, 16], [0.6, 0.8]), [0])


seeds = st.lists(
    st.dictionaries(st.floats(0.5, 200).map(lambda v: round(v, 3)), st.floats(-1, 1),
                    min_size=2, max_size=6),
    min_size=1, max_size=3,
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(seeds, st.lists(st.floats(1, 100), min_size=1, max_size=4, unique=True))
def test_readings_equal_the_slow_twin(curves, levels):
    table = pd.concat(
        sweep(list(curve), list(curve.values()), seed=seed) for seed, curve in enumerate(curves)
    )
    readings = at_equal_l0(table.sample(frac=1, random_state=0), levels)
    assert readings.l0.tolist() == levels
    for reading in readings.itertuples():
        slow = [slow_reading(sorted(curve.items()), reading.l0) for curve in curves]
        slow = [value for value in slow if not math.isnan(value)]
        assert reading.n_seeds == len(slow)
        if not slow:
            assert math.isnan(reading.explained_variance)
            continue
        mean = pytest.approx(sum(slow) / len(slow), abs=1e-9)
        assert reading.explained_variance == mean
        assert reading.explained_variance_low == pytest.approx(min(slow), abs=1e-9)
        assert reading.explained_variance_high == pytest.approx(max(slow), abs=1e-9)
        assert reading.ce_recovered == pytest.approx(-sum(slow) / len(slow), abs=1e-9)

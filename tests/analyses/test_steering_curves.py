"""Onset and half-saturation against a fine walk along the interpolated curve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.steering.strength_curves import half_saturation, onset

STRENGTHS = np.array([-20.0, -5.0, 0.0, 5.0, 10.0, 20.0, 50.0, 150.0])


def walk(curve, level):
    """Return the first strength of a fine walk from 0 where the straight lines exceed `level`."""
    fine = np.linspace(0, 150, 60_001)
    above = np.interp(fine, STRENGTHS, curve) > level
    return fine[above.argmax()] if above.any() else np.nan


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=8, max_size=8), st.floats(0.01, 0.99))
def test_onset_is_where_a_walk_along_the_curve_first_exceeds_gamma(curve, gamma):
    found = onset(STRENGTHS, np.array([curve]), gamma)
    if max(curve[2:]) <= gamma:
        assert np.isnan(found[0])
    elif np.abs(np.array(curve) - gamma).min() > 1e-3:  # a step can miss a grazing curve
        assert found[0] == pytest.approx(walk(curve, gamma), abs=0.02 + 150 / 60_000)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.05, 1), min_size=8, max_size=8))
def test_half_saturation_is_where_the_curve_passes_half_of_its_final_value(curve):
    found = half_saturation(STRENGTHS, np.array([curve]), at=150.0)
    if np.abs(np.array(curve) - curve[-1] / 2).min() > 1e-3:
        assert found[0] == pytest.approx(walk(curve, curve[-1] / 2), abs=0.02 + 150 / 60_000)


def test_known_curves():
    rising = np.array([[0.9, 0.9, 0.0, 0.0, 0.0, 0.2, 0.8, 0.8], np.zeros(8), np.ones(8)])
    assert onset(STRENGTHS, rising, 0.1) == pytest.approx([15.0, np.nan, 0.0], nan_ok=True)
    expected = [20 + 30 / 3, np.nan, 0.0]  # negative strengths do not count
    assert half_saturation(STRENGTHS, rising, 150.0) == pytest.approx(expected, nan_ok=True)
    negative = np.array([-3.0, -1.0])
    assert np.isnan(onset(negative, np.ones((1, 2)), 0.1)).all()


def test_mistakes():
    with pytest.raises(ValueError, match=r"at strength 7: the grid has \[.*150\.0\]"):
        half_saturation(STRENGTHS, np.ones((1, 8)), 7)
    with pytest.raises(ValueError, match=r"ascending strengths; got \(1, 3\) over \[1\.0, 1\.0"):
        onset(np.array([1.0, 1.0, 2.0]), np.ones((1, 3)), 0.1)
    with pytest.raises(ValueError, match=r"got \(8, 1\)"):
        onset(STRENGTHS, np.ones((8, 1)), 0.1)

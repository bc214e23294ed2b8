"""Firing rates, their classes and their histogram."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.shared.firing import firing_histogram, firing_rates, firing_summary

FIRED = np.array([0, 1, 10, 101, 1000])


def test_rates_and_classes():
    table = firing_rates(FIRED, 1000)
    np.testing.assert_allclose(table.firing_rate, [0, 0.001, 0.01, 0.101, 1])
    assert table.status.tolist() == ["dead", "alive", "alive", "dense", "dense"]
    assert table.latent_idx.tolist() == [0, 1, 2, 3, 4]


def test_dense_latents_are_alive():
    assert firing_summary(FIRED, 1000) == {
        "d_sae": 5,
        "n_tokens": 1000,
        "dead_latents": 1,
        "alive_latents": 4,
        "dense_latents": 2,
    }
    assert firing_summary(FIRED, 1000, dense_rate=0.5)["dense_latents"] == 1


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 997), min_size=1, max_size=40), st.integers(1, 60))
def test_the_histogram_holds_every_alive_latent_once(fired, n_bins):
    table = firing_histogram(np.array(fired), 997, layer=1, recipe="vanilla", n_bins=n_bins)
    assert table.n_latents.sum() == sum(count > 0 for count in fired)
    assert table.n_latents.sum() + table.dead_latents.iloc[0] == len(fired)
    np.testing.assert_allclose(table.log10_rate_high[:-1], table.log10_rate_low[1:])


def test_the_histogram_places_a_latent_by_its_rate():
    table = firing_histogram(np.array([10, 10, 1000]), 1000, layer=0, recipe="v", n_bins=3)
    np.testing.assert_allclose(table.log10_rate_low, [-3, -2, -1])
    assert table.n_latents.tolist() == [0, 2, 1]


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="firing counts from 0 to 9 do not fit 8 tokens"):
        firing_rates(np.array([0, 9]), 8)

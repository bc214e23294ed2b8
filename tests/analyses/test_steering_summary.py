"""Eqs 6 to 8 of a layer and their intervals: a slow twin, batches, few images, sampled units."""

import numpy as np
import pytest
import torch

from clip_sae.analyses.steering.layer_summary import (
    DISPERSIONS,
    PERFECT,
    LayerSummary,
    Thresholds,
    resample_weights,
)
from clip_sae.analyses.steering.unit_measures import Words, measure
from clip_sae.metrics import rank_correlation

N_UNITS, N_IMAGES, N_WORDS = 14, 9, 8
THRESHOLDS = Thresholds(gamma=0.1, beta=(0.05, 0.1, 0.5, 0.95))


def planted(seed=0, n_images=N_IMAGES):
    """Return steered [unit image word], clean [image word], text, alive and cosines."""
    rng = np.random.default_rng(seed)
    sharp = np.geomspace(0.02, 3, N_UNITS)
    means = np.stack([rng.dirichlet(np.full(N_WORDS, a)) for a in sharp])  # [unit word]
    steered = np.stack([rng.dirichlet(40 * mean + 0.01, n_images) for mean in means])
    clean = rng.dirichlet(np.full(N_WORDS, 0.5), n_images)
    text = rng.normal(size=(N_WORDS, 5)) + 1
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    alive = np.arange(N_UNITS) % 3 > 0
    cosine = rng.uniform(0.8, 1, (N_UNITS, n_images))
    return *map(torch.from_numpy, (steered, clean, text)), alive, torch.from_numpy(cosine)


def summarise(data, weights, batches=(N_UNITS,), **options):
    steered, clean, text, alive, cosine = data
    summary = LayerSummary(torch.from_numpy(weights), N_WORDS, THRESHOLDS, **options)
    start = 0
    for size in batches:
        part = slice(start, start + size)
        summary.add(measure(steered[part], clean, Words.of(text)), alive[part], cosine[part])
        start += size
    rows = summary.table(clean, 0.7)
    return {(row["quantity"], row["threshold"]): row for row in rows}, summary


def find(rows, quantity, threshold=None):
    [row] = [
        row
        for (name, at), row in rows.items()
        if name == quantity and (np.isnan(at) if threshold is None else at == threshold)
    ]
    return row


def slow_draw(data, weights):
    """Return every quantity of one resample, from the resampled distributions themselves."""
    steered, clean, _, alive, cosine = (np.asarray(part) for part in data)
    n = len(weights)
    d = steered - clean
    mean = np.einsum("i,uiv->uv", weights, d)
    plain = d.mean(1)
    spread = (np.square(d).sum(-1).mean(1) - np.square(plain).sum(-1)) / n
    s = np.square(mean).sum(-1) - spread
    floor_spread = (np.square(clean).sum(-1).mean() - np.square(clean.mean(0)).sum()) / n
    found = {
        ("mean_steerability", None): s.mean(),
        ("mean_steerability_alive", None): s[alive].mean(),
        ("mean_steerability_printed", None): (np.square(d).sum(-1) @ weights).mean(),
        ("n_perfect", PERFECT): (s >= PERFECT).sum(),
        ("asymptote_cosine", None): (cosine @ weights).mean(),
        ("steerability_floor", None): np.square(weights @ clean).sum() - floor_spread,
    }
    for level in THRESHOLDS.both:
        over = s > level
        found["n_steerable", level] = over.sum()
        found["steerable_fraction", level] = over.mean()
        found["concept_coverage", level] = len(np.unique(mean[over].argmax(-1)))
    return found


def test_values_and_intervals_equal_a_bootstrap_of_the_distributions_themselves():
    data, weights = planted(), resample_weights(N_IMAGES, 150, seed=3)
    rows, summary = summarise(data, weights)
    assert (summary.n_units, summary.n_alive) == (N_UNITS, int(data[3].sum()))
    draws = [slow_draw(data, w) for w in weights]
    for key in draws[0]:
        row = find(rows, *key)
        expected = np.quantile([draw[key] for draw in draws], [0.025, 0.975])
        assert [row["low"], row["high"]] == pytest.approx(expected, abs=1e-9), key
    even = np.full(N_IMAGES, 1 / N_IMAGES)
    d = np.asarray(data[0] - data[1])
    s = np.square(d.mean(1)).sum(-1)
    for key, value in slow_draw(data, even).items():
        if key[0] in ("asymptote_cosine", "mean_steerability_printed"):
            assert find(rows, *key)["value"] == pytest.approx(value)
    assert find(rows, "mean_steerability")["value"] == pytest.approx(s.mean())
    assert find(rows, "n_perfect", PERFECT)["value"] == (s >= PERFECT).sum()
    for level in THRESHOLDS.both:
        words = np.unique(d.mean(1)[s > level].argmax(-1))
        assert find(rows, "concept_coverage", level)["value"] == len(words)
        first = np.unique(np.asarray(data[0])[s > level, 0].argmax(-1))
        assert find(rows, "concept_coverage_image0", level)["value"] == len(first)
        assert find(rows, "n_steerable", level)["value"] == (s > level).sum()
    assert find(rows, "mu_v_norm")["value"] == 0.7 and np.isnan(find(rows, "mu_v_norm")["low"])


def test_dispersions_are_ranked_against_steerability():
    data, weights = planted(), resample_weights(N_IMAGES, 100, seed=3)
    rows, _ = summarise(data, weights)
    measures = measure(*data[:2], Words.of(data[2]))
    for name in DISPERSIONS:
        row = find(rows, f"{name}_rank_correlation")
        expected = rank_correlation(getattr(measures, name).numpy(), measures.steerability.numpy())
        assert row["value"] == pytest.approx(expected)
        assert -1 <= row["low"] <= row["high"] <= 1
        [row] = [find(summarise(data, weights, sampled=True)[0], f"{name}_rank_correlation")]
        assert row["value"] == pytest.approx(expected)
        assert np.isnan(row["low"]) and np.isnan(row["high"])


def test_batches_change_nothing():
    data, weights = planted(), resample_weights(N_IMAGES, 100, seed=0)
    whole, _ = summarise(data, weights)
    parts, _ = summarise(data, weights, batches=(1, 5, 8))
    assert whole.keys() == parts.keys() or len(whole) == len(parts)
    for one, two in zip(whole.values(), parts.values(), strict=True):
        assert one["quantity"] == two["quantity"]
        for end in ("value", "low", "high"):
            assert one[end] == pytest.approx(two[end], nan_ok=True), one["quantity"]


@pytest.mark.parametrize("n_images", [4, 30])
def test_an_interval_of_few_images_lies_around_its_own_estimate(n_images):
    """Squares of resampled means exceed the estimate by variance / n, which is subtracted."""
    weights = resample_weights(n_images, 2000, seed=1)
    for seed in range(5):
        rows, _ = summarise(planted(seed, n_images), weights)
        for quantity in ("mean_steerability", "steerability_floor", "mean_steerability_printed"):
            row = find(rows, quantity)
            assert row["low"] < row["value"] < row["high"], (quantity, seed)


def test_sampled_units_widen_the_interval_of_means_and_counts():
    data, weights = planted(), resample_weights(N_IMAGES, 500, seed=1)
    all_units, _ = summarise(data, weights)
    sampled, _ = summarise(data, weights, sampled=True)
    again, _ = summarise(data, weights, sampled=True)
    for quantity, level in (("mean_steerability", None), ("steerable_fraction", 0.5)):
        one, other = find(all_units, quantity, level), find(sampled, quantity, level)
        assert one["value"] == other["value"]
        assert other["high"] - other["low"] > 1.2 * (one["high"] - one["low"])
        assert other == find(again, quantity, level)
    for end in ("low", "high"):  # coverage describes this sample, see the module
        one, other = (find(rows, "concept_coverage", 0.1)[end] for rows in (all_units, sampled))
        assert one == other


def test_a_layer_without_alive_units_has_no_mean_of_them():
    data, weights = planted(), resample_weights(N_IMAGES, 100, seed=1)
    rows, _ = summarise((*data[:3], np.zeros(N_UNITS, dtype=bool), data[4]), weights)
    row = find(rows, "mean_steerability_alive")
    assert np.isnan([row["value"], row["low"], row["high"]]).all()

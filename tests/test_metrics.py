"""Every metric compared with a slow version, and the identities it must keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clip_sae.metrics import (
    ReconstructionSums,
    bootstrap_means,
    ce_recovered,
    percentile_interval,
    rank_correlation,
    ranks,
)


def tokens(seed=0, n=37, d_model=5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d_model)) * rng.gamma(2, size=(n, 1)) + 3
    return x, x + 0.4 * rng.normal(size=x.shape)


def summed(x, x_hat, sizes, centre=None):
    sums = ReconstructionSums(centre)
    for rows in np.split(np.arange(len(x)), np.cumsum(sizes)[:-1]):
        sums.update(x[rows], x_hat[rows])
    return sums


def test_each_form_equals_its_slow_twin():
    x, x_hat = tokens()
    mean = x.mean(0)
    sums = summed(x, x_hat, [10, 27], mean)
    error = [((a - b) ** 2).sum() for a, b in zip(x, x_hat, strict=True)]
    spread = [((a - mean) ** 2).sum() for a in x]
    cosine = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(x, x_hat, strict=True)]
    columns = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(x.T, x_hat.T, strict=True)
    ]
    assert sums.explained_variance == pytest.approx(1 - sum(error) / sum(spread))
    assert sums.explained_variance_prisma == pytest.approx(
        np.mean([1 - e / s for e, s in zip(error, spread, strict=True)])
    )
    assert sums.explained_variance_uncentred == pytest.approx(1 - sum(error) / (x**2).sum())
    assert sums.cosine_similarity == pytest.approx(np.mean(cosine))
    assert sums.cosine_similarity_prisma == pytest.approx(np.mean(columns))


@settings(deadline=None, max_examples=20)
@given(cut=st.integers(1, 36), seed=st.integers(0, 5), far=st.booleans())
def test_neither_batches_nor_the_centre_change_explained_variance(cut, seed, far):
    x, x_hat = tokens(seed)
    offset = 1e4 if far else 0.0  # a large common mean is where naive sums lose their digits
    whole = summed(x + offset, x_hat + offset, [len(x)])
    parts = summed(x + offset, x_hat + offset, [cut, len(x) - cut], np.full(5, offset))
    assert parts.explained_variance == pytest.approx(whole.explained_variance, abs=1e-9)
    assert parts.cosine_similarity == pytest.approx(whole.cosine_similarity, abs=1e-9)


def test_perfect_and_mean_reconstructions_are_one_and_zero():
    x, _ = tokens()
    perfect, mean = summed(x, x, [37]), summed(x, np.tile(x.mean(0), (37, 1)), [37])
    assert perfect.explained_variance == perfect.explained_variance_uncentred == 1
    assert perfect.cosine_similarity == pytest.approx(1)
    assert mean.explained_variance == pytest.approx(0, abs=1e-12)
    assert mean.explained_variance_uncentred > 0.5  # why PatchSAE's form flatters


def test_extra_axes_are_tokens():
    x, x_hat = tokens(n=36)
    flat, folded = ReconstructionSums(), ReconstructionSums()
    flat.update(x, x_hat)
    errors = folded.update(x.reshape(4, 9, 5), x_hat.reshape(4, 9, 5))
    assert errors.cosine.shape == (4, 9)
    assert folded.explained_variance == pytest.approx(flat.explained_variance)


def test_reading_too_early_or_without_a_mean_says_what_to_do():
    sums = ReconstructionSums()
    with pytest.raises(ValueError, match="call ReconstructionSums.update before"):
        _ = sums.explained_variance
    sums.update(*tokens())
    with pytest.raises(ValueError, match=r"needs the evaluation set's mean token"):
        _ = sums.explained_variance_prisma
    with pytest.raises(ValueError, match=r"x is \(2, 5\) but x_hat is \(3, 5\)"):
        ReconstructionSums(np.zeros(5)).update(np.zeros((2, 5)), np.zeros((3, 5)))


def test_ce_recovered_runs_from_ablated_to_clean():
    assert ce_recovered(1.0, 1.0, 5.0) == 1
    assert ce_recovered(1.0, 5.0, 5.0) == 0
    assert ce_recovered(1.0, 2.0, 5.0) == pytest.approx(0.75)
    assert np.isnan(ce_recovered(1.0, 1.0, 1.0))


def test_the_papers_table_3_agrees_with_ce_recovered():
    # Row 1 of Table 3: CE 3.412, Recon 3.501, Zero 4.339, Rec 90.35 %.
    assert 100 * ce_recovered(3.412, 3.501, 4.339) == pytest.approx(90.35, abs=0.1)


@settings(deadline=None, max_examples=25)
@given(arrays(np.int64, st.integers(2, 20), elements=st.integers(0, 5)))
def test_ranks_share_ties(values):
    twin = [(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values]
    np.testing.assert_allclose(ranks(values), twin)


def test_rank_correlation_sees_order_only():
    a = np.arange(10.0)
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, -(a**3)) == pytest.approx(-1)
    assert np.isnan(rank_correlation(a, np.ones(10)))
    # By hand: ranks 1 2 3 against 1 3 2, 1 − 6·2/(3·8).
    assert rank_correlation([1, 2, 3], [10, 30, 20]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"one shape, got \(3,\) and \(2,\)"):
        rank_correlation([1, 2, 3], [1, 2])


def test_bootstrap_covers_the_standard_error_of_a_mean():
    values = np.random.default_rng(1).normal(size=(400, 1))
    low, high = percentile_interval(bootstrap_means(values, seed=3)[:, 0])
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.02)


def test_bootstrap_draws_are_seeded_paired_and_of_the_right_shape():
    values = np.random.default_rng(1).normal(size=(30, 2))
    values[:, 1] = 2 * values[:, 0]
    draws = bootstrap_means(values, n=100, seed=5)
    assert draws.shape == (100, 2)
    np.testing.assert_allclose(draws[:, 1], 2 * draws[:, 0])
    np.testing.assert_array_equal(draws, bootstrap_means(values, n=100, seed=5))
    assert not np.array_equal(draws, bootstrap_means(values, n=100, seed=6))


def test_the_bootstrap_equals_a_loop_over_resamples():
    values, rng = np.random.default_rng(2).gamma(2, size=300), np.random.default_rng(0)
    slow = [values[rng.integers(0, 300, 300)].mean() for _ in range(2000)]
    quick = bootstrap_means(values[:, None], seed=0)[:, 0]
    np.testing.assert_allclose(np.sort(slow), np.sort(quick))


def test_empty_bootstraps_are_refused():
    with pytest.raises(ValueError, match=r"\[image, column\] with images, got \(0, 2\)"):
        bootstrap_means(np.zeros((0, 2)))

"""Schedules, starting values, targets, row operations: each against a slow NumPy twin."""

import math

import numpy as np
import pytest
import torch

from clip_sae.planning.recipes import SaeRecipe
from clip_sae.training.learner import normalise_rows_, remove_parallel_
from clip_sae.training.optimiser import Adam, lr_factor
from clip_sae.training.source import DeviceCopies, StartingPoints, TrainingError
from clip_sae.training.targets import BatchTargets
from clip_sae.training.weights import centre, geometric_median, initial_weights


def recipe(**changes) -> SaeRecipe:
    section = {"architecture": "vanilla", "expansion_factor": 2, "l1_coefficient": 0.1, **changes}
    return SaeRecipe.from_config("demo", section)[0][1]


def test_standard_cosine_with_warm_up():
    r = recipe(warmup_steps=4)
    factors = [lr_factor(r, step, 24) for step in range(24)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[14] == pytest.approx(0.5)
    assert factors[23] == pytest.approx(0.5 * (1 + math.cos(math.pi * 19 / 20)))
    assert lr_factor(r, 24, 24) == pytest.approx(0)


def test_prisma_cosine_ends_at_the_learning_rate_squared_over_ten():
    r = recipe(form="prisma_compat", lr=1e-3, warmup_steps=0)
    assert r.lr * lr_factor(r, 1000, 1000) == pytest.approx(1e-3 * 1e-3 / 10)


def test_constant_and_endless_warm_up():
    r = recipe(lr_schedule="constant", warmup_steps=2)
    assert [lr_factor(r, s, 9) for s in range(4)] == [0.5, 1, 1, 1]
    assert lr_factor(recipe(warmup_steps=200), 9, 10) == pytest.approx(0.05)


def test_geometric_median_minimises_the_mean_distance():
    points = torch.randn(301, 5, generator=torch.Generator().manual_seed(0)).double() ** 3
    median = geometric_median(points, tolerance=1e-14)
    unit = (points - median) / (points - median).norm(dim=1, keepdim=True)
    assert unit.mean(dim=0).norm() < 1e-4  # the gradient of the mean distance
    in_one_dimension = geometric_median(torch.tensor([[0.0], [1.0], [50.0]]).double())
    assert abs(float(in_one_dimension) - 1) < 1e-3


def test_geometric_median_of_equal_points():
    assert torch.equal(geometric_median(torch.ones(5, 3)), torch.ones(3))


def test_centres():
    points = torch.randn(50, 3)
    assert torch.equal(centre(points, "mean"), points.mean(dim=0))
    assert torch.equal(centre(points, "zeros"), torch.zeros(3))
    with pytest.raises(ValueError, match="unknown b_dec_init 'median'"):
        centre(points, "median")


def test_initial_weights_are_tied_unit_and_seeded():
    b_dec = torch.arange(4.0)
    weights, again = (initial_weights(4, 8, b_dec, seed=3) for _ in range(2))
    torch.testing.assert_close(weights.W_dec.norm(dim=1), torch.ones(8))
    assert torch.equal(weights.W_enc_rows, weights.W_dec)
    assert weights.W_enc_rows.data_ptr() != weights.W_dec.data_ptr()
    assert torch.equal(weights.b_dec, b_dec) and weights.b_dec.data_ptr() != b_dec.data_ptr()
    assert torch.equal(weights.W_dec, again.W_dec)
    assert not torch.equal(weights.W_dec, initial_weights(4, 8, b_dec, seed=4).W_dec)


def test_b_dec_starts_in_the_space_of_its_form(array_stream):
    x = (5 + np.random.default_rng(0).normal(size=(90, 4)) * [1, 9, 1, 1]).astype("f4")
    starts = StartingPoints(array_stream(x, 20), 4, torch.device("cpu"))
    standard = starts.b_dec(recipe(init_tokens=70, b_dec_init="mean"))
    prisma = starts.b_dec(recipe(init_tokens=70, b_dec_init="mean", form="prisma_compat"))
    first = np.concatenate(list(array_stream(x, 20).epoch(0)))[:70]
    z = (first - first.mean(1, keepdims=True)) / (first.std(1, ddof=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(standard, z.mean(0), atol=1e-5)
    np.testing.assert_allclose(prisma, first.mean(0), atol=1e-5)


def test_starting_points_refuse_another_width(array_stream):
    stream = array_stream(np.zeros((8, 4), "f4"), 4)
    with pytest.raises(TrainingError, match=r"shape \(4, 4\); expected \[token, 5\]"):
        StartingPoints(stream, 5, torch.device("cpu")).b_dec(recipe())


def test_targets_are_shared_and_ignore_a_token_at_the_batch_mean():
    batch = BatchTargets(torch.tensor([[1.0, 2, 3], [3.0, 2, 1], [2.0, 2, 2]]))
    prisma = batch.get("none", "prisma_compat")
    assert prisma is batch.get("none", "prisma_compat")
    assert prisma.weight[2] == 0 and prisma.weight.isfinite().all()
    assert float(batch.get("none", "standard").total_variance) == pytest.approx(4)
    assert float(prisma.total_variance) == pytest.approx(4)


def test_patchsae_divides_by_the_norm_of_the_token_itself():
    x = torch.tensor([[3.0, 4], [0.0, 0], [0.0, 2]])
    target = BatchTargets(x).get("none", "patchsae")
    assert target.weight.squeeze(1).tolist() == pytest.approx([1 / 5 / 6, 0, 1 / 2 / 6])
    assert torch.equal(target.target, x)
    assert float(target.total_variance) == pytest.approx(float((x - x.mean(0)).square().sum()))


def test_adam_equals_its_twin():
    """Kingma & Ba 2015, Algorithm 1, written out for three steps of one array."""
    weights = initial_weights(4, 8, torch.zeros(4, dtype=torch.float64), seed=0)
    adam, w = Adam(weights, (0.9, 0.99)), weights.W_dec.numpy().copy()
    m, v = np.zeros_like(w), np.zeros_like(w)
    for step, lr in enumerate([0.1, 0.2, 0.05], start=1):
        grads = weights.zeros_like()
        grads.W_dec.copy_(torch.randn(8, 4, generator=torch.Generator().manual_seed(step)))
        adam.step(grads, lr)
        g = grads.W_dec.numpy()
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        w -= lr * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
        np.testing.assert_allclose(weights.W_dec, w, rtol=1e-9)
    assert not weights.b_enc.any()


def test_row_operations_equal_their_twins():
    draw = torch.Generator().manual_seed(0)
    grad = torch.randn(7, 5, generator=draw).double()
    rows = torch.randn(7, 5, generator=draw).double()
    expected = rows.numpy() / np.linalg.norm(rows.numpy(), axis=1, keepdims=True)
    normalise_rows_(rows)
    np.testing.assert_allclose(rows, expected)
    twin = grad.numpy() - (grad.numpy() * expected).sum(1, keepdims=True) * expected
    remove_parallel_(grad, rows)
    np.testing.assert_allclose(grad, twin, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint16])
def test_batches_come_to_the_device_with_their_exact_values(dtype):
    """float16 widens exactly; uint16 holds the upper halves of float32, which is bfloat16."""
    values = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)
    batch = values.astype(dtype)
    expected = batch.astype(np.float32)
    if dtype == np.uint16:
        bits = values.view(np.uint32) >> 16
        batch, expected = bits.astype(np.uint16), (bits << 16).view(np.float32)
    copy = DeviceCopies(6, torch.device("cpu"))
    found = copy(batch)
    batch[:] = 0  # the stream reuses its memory
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), expected)
    with pytest.raises(TrainingError, match=r"shape \(4, 5\)"):
        copy(batch[:, :5])

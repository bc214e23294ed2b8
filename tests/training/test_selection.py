"""Selection of the largest pre-activations against a slow NumPy top-k, on both routes."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clip_sae.training import encoders, selection, workspace
from clip_sae.training.encoders import BatchTopKEncoder, TopKEncoder
from clip_sae.training.selection import Selector, keep_largest
from clip_sae.training.weights import Weights
from clip_sae.training.workspace import Workspace

EXAMPLES = settings(deadline=None, max_examples=60)


def encoder(W_enc_rows, b_enc) -> Weights:
    """Weights of which only the encoder matters."""
    rows, b_enc = torch.as_tensor(W_enc_rows).float(), torch.as_tensor(b_enc).float()
    return Weights(rows, b_enc, torch.zeros_like(rows), torch.zeros(rows.shape[1]))


def whole_numbers(seed, n_tokens, d_model, d_sae, spread, bias):
    """Tokens and weights of whole numbers: float32 computes their products exactly.

    A small `spread` makes many ties; weights above 256 are not exact in bfloat16.
    """
    draw = np.random.default_rng(seed)
    z = draw.integers(-spread, spread + 1, (n_tokens, d_model))
    rows = draw.integers(-spread, spread + 1, (d_sae, d_model))
    b_enc = draw.integers(-bias, bias + 1, d_sae)
    exact = z.astype("f8") @ rows.T + b_enc
    assert np.abs(exact).max() < 2**24
    return torch.tensor(z).float(), encoder(rows, b_enc), exact


def slow_top_k(exact: np.ndarray, k: int) -> list[np.ndarray]:
    """Return the positive ones of the k largest scores of each token, descending."""
    best = -np.sort(-exact, axis=1)[:, :k]
    return [row[row > 0] for row in best]


def as_rows(codes) -> list[tuple[np.ndarray, np.ndarray]]:
    """(latents, values) of each token."""
    cuts = codes.row_start.tolist()
    columns, values = codes.columns.numpy(), codes.values.numpy()
    return [(columns[a:b], values[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]


def take_route(patch: pytest.MonkeyPatch, *, low: bool) -> None:
    """`low`: bfloat16 also for small SAEs and on CPUs that are slow at it; else float32."""
    patch.setattr(selection, "BFLOAT16_FROM", 0 if low else 2**60)
    patch.setattr(selection, "fast_bfloat16", lambda: True)


@pytest.fixture(params=["exact", "bfloat16"])
def route(request, monkeypatch):
    take_route(monkeypatch, low=request.param == "bfloat16")


@pytest.fixture
def bfloat16(monkeypatch):
    take_route(monkeypatch, low=True)


@pytest.fixture
def without_mkldnn():
    """torch's own product, which CPUs without fast bfloat16 take."""
    before, *_ = torch.backends.mkldnn.set_flags(False, _allow_tf32=None)
    yield
    torch.backends.mkldnn.set_flags(before, _allow_tf32=None)


@pytest.fixture
def chunk_tokens(monkeypatch):
    return lambda size: monkeypatch.setattr(workspace, "CHUNK_TOKENS", size)


shapes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "n_tokens": st.integers(1, 12),
        "d_model": st.integers(1, 20),
        "d_sae": st.integers(1, 150),
        "spread": st.sampled_from([1, 3, 300]),
        "bias": st.sampled_from([0, 2, 50_000]),
    }
)


def check_top_k(shape, k):
    z, weights, exact = whole_numbers(**shape)
    offered = Selector(Workspace()).candidates(z, weights, k)
    best = slow_top_k(exact, k)
    for token, (latents, values) in enumerate(as_rows(offered)):
        assert len(set(latents)) == len(latents)
        np.testing.assert_array_equal(values, exact[token, latents])
    for token, (latents, values) in enumerate(as_rows(keep_largest(offered, k))):
        np.testing.assert_array_equal(values, exact[token, latents])
        np.testing.assert_array_equal(-np.sort(-values), best[token])


class TestTopK:
    """Any of equal scores at rank k may be kept, so sets are compared by their scores."""

    @given(shape=shapes, share=st.floats(0, 1))
    @example({"seed": 0, "n_tokens": 5, "d_model": 7, "d_sae": 64, "spread": 3, "bias": 0}, 0.0)
    @example({"seed": 0, "n_tokens": 5, "d_model": 7, "d_sae": 63, "spread": 3, "bias": 2}, 1.0)
    @example({"seed": 0, "n_tokens": 5, "d_model": 7, "d_sae": 128, "spread": 1, "bias": 0}, 0.02)
    @EXAMPLES
    def test_exact(self, shape, share):
        check_top_k(shape, 1 + int(share * (shape["d_sae"] - 1)))

    @given(shape=shapes, share=st.floats(0, 1))
    @EXAMPLES
    def test_bfloat16(self, shape, share):
        with pytest.MonkeyPatch.context() as patch:
            take_route(patch, low=True)
            check_top_k(shape, 1 + int(share * (shape["d_sae"] - 1)))


@pytest.mark.parametrize("d_sae", [64, 61])
def test_no_positive_score_gives_empty_rows(route, d_sae):
    z, weights, _ = whole_numbers(0, 6, 4, d_sae, 2, 0)
    weights.b_enc -= 1000
    for pooled in (False, True):
        codes = keep_largest(Selector(Workspace()).candidates(z, weights, 3, pooled=pooled), 3)
        assert codes.row_start.tolist() == [0] * 7 and len(codes.values) == 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_share_without_tokens_has_no_blocks(device):
    assert list(workspace.chunks(torch.empty(0, 3, device=device))) == []


@pytest.mark.parametrize("step", [1, 4, 100])
def test_blocks_change_nothing(route, step, chunk_tokens):
    z, weights, exact = whole_numbers(3, 30, 9, 96, 300, 50)
    chunk_tokens(step)
    [(tokens, codes)] = TopKEncoder(4).encode(z, weights)
    assert tokens == slice(0, 30)
    best = slow_top_k(exact, 4)
    for token, (_, values) in enumerate(as_rows(codes)):
        np.testing.assert_array_equal(-np.sort(-values), best[token])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_token_that_is_not_finite_leaves_the_others_alone(route, bad):
    """It gets latents that are not finite or none; its error is not finite, so training stops."""
    z, weights, exact = whole_numbers(5, 6, 8, 64, 3, 2)
    z[2, 1] = bad
    best = slow_top_k(exact, 3)
    [(_, codes)] = TopKEncoder(3).encode(z, weights)
    for token, (latents, values) in enumerate(as_rows(codes)):
        if token == 2:
            assert len(latents) <= 3 and not np.isfinite(values).any()
        else:
            np.testing.assert_array_equal(-np.sort(-values), best[token])
    [(_, codes)] = BatchTopKEncoder(3).encode(z, weights)
    for token, (latents, values) in enumerate(as_rows(codes)):
        assert token == 2 or (values == exact[token, latents]).all()


def batch_top_k(exact: np.ndarray, k: int) -> np.ndarray:
    """Return a mask of the positive entries that reach the k x token-th largest, ties included."""
    flat = np.sort(exact, axis=None)[::-1]
    return (exact >= flat[k * len(exact) - 1]) & (exact > 0)


def check_batch_top_k(z, weights, exact, k):
    batch = BatchTopKEncoder(k)
    [(tokens, codes)] = batch.encode(z, weights)
    assert tokens == slice(0, len(z))
    expected = batch_top_k(exact, k)
    found = np.zeros_like(expected)
    for token, (latents, values) in enumerate(as_rows(codes)):
        found[token, latents] = True
        np.testing.assert_array_equal(values, exact[token, latents])
    np.testing.assert_array_equal(found, expected)
    assert codes.n_active() == expected.sum()
    if expected.any():
        assert float(batch.smallest_kept) == exact[expected].min()
    else:
        assert batch.smallest_kept is None


class TestBatchTopK:
    @given(
        shape=shapes,
        share=st.floats(0, 1),
        chunk=st.integers(1, 13),
        low=st.booleans(),
        loud=st.sampled_from([1, 10, 300]),
    )
    @example(
        {"seed": 0, "n_tokens": 12, "d_model": 8, "d_sae": 64, "spread": 3, "bias": 0},
        0.0,
        1,
        False,
        300,
    )
    @EXAMPLES
    def test_equals_a_flat_top_k(self, shape, share, chunk, low, loud):
        """`loud`: the last token is that many times as long, so it holds most of the largest."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(workspace, "CHUNK_TOKENS", chunk)
            take_route(patch, low=low)
            shape = {**shape, "spread": min(shape["spread"], 30)}
            z, weights, _ = whole_numbers(**shape)
            z[-1] *= loud
            exact = z.double().numpy() @ weights.W_enc_rows.double().numpy().T
            exact += weights.b_enc.numpy()
            check_batch_top_k(z, weights, exact, 1 + int(share * (shape["d_sae"] - 1)))

    @pytest.mark.parametrize("chunk", [1, 2, 5, 32])
    def test_one_token_takes_all(self, route, chunk, chunk_tokens):
        """k x token entries in one token: its chunk makes more offers, up to d_sae."""
        chunk_tokens(chunk)
        z = torch.full((32, 2), 0.0)
        z[17] = torch.tensor([3.0, 5.0])
        rows = torch.stack([torch.arange(1.0, 65), torch.arange(64.0)], dim=1)
        weights = encoder(rows, torch.full((64,), -1.0))
        exact = z.double().numpy() @ rows.double().numpy().T - 1
        check_batch_top_k(z, weights, exact, 1)
        check_batch_top_k(z, weights, exact, 2)
        check_batch_top_k(z, weights, exact, 64)


def test_batch_top_k_keeps_fewer_where_fewer_are_positive(route):
    z, weights, exact = whole_numbers(1, 9, 4, 40, 3, 0)
    weights.b_enc -= 40
    exact = exact - 40
    check_batch_top_k(z, weights, exact, 20)
    assert (exact > 0).sum() < 9 * 20


# --- bfloat16: the bound on its error, and what it may never miss ---


def uneven(seed, n_tokens=24, d_model=96, d_sae=256, bias=1.0):
    """Tokens and latents whose norms differ by up to a factor of 10^6."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=draw)

    z = normal(n_tokens, d_model) * 10 ** (1.5 * normal(n_tokens, 1))
    rows = normal(d_sae, d_model) * 10 ** (1.5 * normal(d_sae, 1))
    z += 3 * z.abs().amax() * (torch.arange(d_model) == 5) * (seed % 2)  # an outlier dimension
    return z, encoder(rows, bias * normal(d_sae) * rows.norm(dim=1))


def check_bound(seed, bias):
    z, weights = uneven(seed, bias=bias)
    k = 3
    scores = Selector(Workspace())._scores(z, weights, k)
    exact = z.double() @ weights.W_enc_rows.double().T + weights.b_enc.double()
    size = selection._group_size(len(weights.b_enc), k)
    assert size > 1 and scores.n_groups == 256 // size
    found = scores.values.double()
    bound = scores.error.double().repeat(1, size)  # group g holds the latents g, g + n_groups, …
    maxima = scores.maxima.double().repeat(1, size)
    assert (found <= maxima).all() and (found - exact).abs().max() > 0
    reachable = found.abs() <= maxima.abs()
    assert reachable.any(dim=1).all()
    assert ((found - exact).abs() <= bound)[reachable].all()
    # What the choice needs of the others: none that counts is further above what was found.
    assert (exact - found <= bound)[exact > 0].all()


@pytest.mark.parametrize("bias", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_bound_on_bfloat16_holds(seed, bias, bfloat16):
    check_bound(seed, bias)


@pytest.mark.parametrize("bias", [0.0, 1.0, 100.0])
def test_the_bound_on_bfloat16_holds_without_mkldnn(bias, bfloat16, without_mkldnn):
    check_bound(1, bias)


@pytest.mark.parametrize("seed", range(6))
def test_bfloat16_finds_the_latents_of_exact_scores(seed, route):
    z, weights = uneven(seed)
    exact = (z.double() @ weights.W_enc_rows.double().T + weights.b_enc.double()).numpy()
    [(_, codes)] = TopKEncoder(5).encode(z, weights)
    for token, (latents, _) in enumerate(as_rows(codes)):
        order = np.argsort(-exact[token])[:5]
        expected = order[exact[token, order] > 0]
        assert sorted(latents) == sorted(expected)


@pytest.mark.parametrize("pooled", [False, True])
def test_near_ties_are_decided_in_float32(route, pooled):
    """256 scores within 2 %, less than two steps of bfloat16; the order is that of float32."""
    draw = np.random.default_rng(0)
    n_tokens, d_sae, k = 16, 256, 4
    rows = np.zeros((d_sae, 32))
    rows[:, 0] = 10_000 + draw.permutation(d_sae)
    rows[:, 1:] = draw.integers(-20, 21, (d_sae, 31))
    z = np.ones((n_tokens, 32))
    z[:, 1:] = draw.integers(-1, 2, (n_tokens, 31)) * (np.arange(n_tokens)[:, None] % 2)
    exact = z @ rows.T
    assert (np.ptp(exact, axis=1) < 0.1 * exact.max(axis=1)).all()
    z, weights = torch.tensor(z).float(), encoder(rows, np.zeros(d_sae))
    if pooled:
        check_batch_top_k(z, weights, exact, k)
        return
    best = slow_top_k(exact, k)
    codes = keep_largest(Selector(Workspace()).candidates(z, weights, k), k)
    for token, (_, values) in enumerate(as_rows(codes)):
        np.testing.assert_array_equal(-np.sort(-values), best[token])


def test_bfloat16_rounds_away_what_only_float32_sees(bfloat16):
    """The near ties above are ties in bfloat16: without computing again, the choice is wrong."""
    rows = torch.zeros(64, 8)
    rows[:, 0] = 10_000 + torch.arange(64.0)
    scores = Selector(Workspace())._scores(torch.ones(1, 8), encoder(rows, torch.zeros(64)), 1)
    assert len(scores.values.unique()) <= 3
    codes = keep_largest(
        Selector(Workspace()).candidates(torch.ones(1, 8), encoder(rows, torch.zeros(64)), 1), 1
    )
    assert codes.columns.tolist() == [63]


@pytest.mark.parametrize(
    ("numel", "dtype", "fast", "expected"),
    [
        (2**20, torch.float32, True, True),
        (2**19, torch.float32, True, False),
        (2**20, torch.float64, True, False),
        (2**20, torch.float32, False, False),
    ],
)
def test_when_bfloat16_is_used(numel, dtype, fast, expected, monkeypatch):
    monkeypatch.setattr(selection, "fast_bfloat16", lambda: fast)
    rows = torch.zeros(numel // 8, 8, dtype=dtype)
    weights = Weights(rows, rows[:, 0], rows, rows[0])
    assert selection.uses_bfloat16(torch.zeros(1, 8, dtype=dtype), weights) is expected


@pytest.mark.parametrize("k", [1, 3, 20])
def test_a_devices_own_route_finds_the_same_latents(k, monkeypatch):
    """The route for GPUs, run on the CPU: an offer per token instead of one per chunk."""
    z, weights, exact = whole_numbers(7, 23, 6, 40, 9, 5)
    z[4] *= 9  # one loud token holds more than its share
    exact[4] = z[4].numpy().astype("f8") @ weights.W_enc_rows.numpy().T + weights.b_enc.numpy()
    monkeypatch.setattr(encoders, "on_cpu", lambda z: False)
    [(_, codes)] = TopKEncoder(k).encode(z, weights)
    for (_, values), best in zip(as_rows(codes), slow_top_k(exact, k), strict=True):
        assert np.array_equal(-np.sort(-values[values > 0]), best)
    [(_, codes)] = BatchTopKEncoder(k).encode(z, weights)
    best = -np.sort(-exact.reshape(-1))[: k * len(z)]
    cut = best[best > 0].min()
    assert np.array_equal(np.sort(codes.values.numpy()), np.sort(exact[exact >= cut]))

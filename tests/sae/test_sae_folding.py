"""Folds are identities: the arrays change, the SAE's output does not."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.sae.folding import (
    Arrays,
    fold_decoder_norm,
    fold_gated,
    fold_input_scale,
    fold_uncentred_input,
    scale_latents,
)

D_MODEL, D_SAE = 5, 9


def random_arrays(seed, jump):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(D_MODEL, D_SAE), (D_SAE,), (D_SAE, D_MODEL), (D_MODEL,)]
    drawn = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    threshold = torch.rand(D_SAE, generator=generator, dtype=torch.float64) if jump else None
    return Arrays(*drawn, threshold)


def tokens(seed):
    return torch.randn(
        7, D_MODEL, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def run(arrays, x, centred=True):
    """(latents, x_hat) in this project's conventions, or without centring."""
    pre = (x - arrays.b_dec if centred else x) @ arrays.W_enc + arrays.b_enc
    f = pre.relu()
    if arrays.threshold is not None:
        f = torch.where(pre > arrays.threshold, f, 0.0)
    return f, f @ arrays.W_dec + arrays.b_dec


SEEDS = st.integers(0, 10**6)
quick = settings(deadline=None, max_examples=25)


@quick
@given(SEEDS)
def test_a_gate_is_a_threshold(seed):
    arrays, x = random_arrays(seed, False), tokens(seed + 1)
    rng = np.random.default_rng(seed)
    r, gate, mag = (torch.from_numpy(rng.normal(size=D_SAE)) for _ in range(3))
    W_enc, b_enc, threshold = fold_gated(arrays.W_enc, r, gate, mag)
    assert (threshold >= 0).all()
    h = (x - arrays.b_dec) @ arrays.W_enc
    expected = (h + gate > 0) * torch.relu(torch.exp(r) * h + mag)
    folded = Arrays(W_enc, b_enc, arrays.W_dec, arrays.b_dec, threshold)
    torch.testing.assert_close(run(folded, x)[0], expected)


@quick
@given(SEEDS, st.booleans())
def test_decoder_norms_move_into_the_latents(seed, jump):
    arrays, x = random_arrays(seed, jump), tokens(seed + 1)
    folded = fold_decoder_norm(arrays)
    torch.testing.assert_close(folded.W_dec.norm(dim=1), torch.ones(D_SAE, dtype=torch.float64))
    latents, x_hat = run(arrays, x)
    torch.testing.assert_close(run(folded, x)[0], latents * arrays.W_dec.norm(dim=1))
    torch.testing.assert_close(run(folded, x)[1], x_hat)


@quick
@given(SEEDS, st.booleans(), st.floats(0.01, 100))
def test_an_input_scale_keeps_the_latents(seed, jump, scale):
    arrays, x = random_arrays(seed, jump), tokens(seed + 1)
    latents, x_hat = run(arrays, scale * x)
    torch.testing.assert_close(run(fold_input_scale(arrays, scale), x)[0], latents)
    torch.testing.assert_close(run(fold_input_scale(arrays, scale), x)[1], x_hat / scale)


@quick
@given(SEEDS, st.booleans())
def test_centring_moves_into_b_enc(seed, jump):
    arrays, x = random_arrays(seed, jump), tokens(seed + 1)
    for ours, theirs in zip(
        run(fold_uncentred_input(arrays), x), run(arrays, x, centred=False), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_one_factor_for_all_latents():
    arrays, x = random_arrays(3, True), tokens(4)
    folded = scale_latents(arrays, torch.tensor(2.0, dtype=torch.float64))
    torch.testing.assert_close(run(folded, x)[0], 2 * run(arrays, x)[0])
    torch.testing.assert_close(run(folded, x)[1], run(arrays, x)[1])


def test_a_row_of_zeros_stays():
    arrays = random_arrays(0, True)
    arrays.W_dec[2] = 0
    folded = fold_decoder_norm(arrays)
    assert (folded.W_dec[2] == 0).all() and folded.W_enc[:, 2].isfinite().all()

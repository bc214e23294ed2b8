"""The SAE module against a slow NumPy twin, and its identities."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.sae import Sae
from clip_sae.sae.activations import top_k_columns

D_MODEL, D_SAE = 8, 24
CASES = [("vanilla", None), ("topk", 3), ("topk", D_SAE), ("jumprelu", None)]
NORMS = ["none", "layer_norm", "constant_norm_rescale"]


def random_sae(architecture, k, input_norm, seed=0) -> Sae:
    sae = Sae(D_MODEL, D_SAE, architecture, k=k, input_norm=input_norm).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in sae.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator).double())
    sae.W_dec /= sae.W_dec.norm(dim=1, keepdim=True)
    if architecture == "jumprelu":
        sae.threshold.abs_()
    return sae


def tokens(*shape, seed=1):
    return torch.randn(*shape, D_MODEL, generator=torch.Generator().manual_seed(seed)).double()


def twin(sae: Sae, x: np.ndarray):
    """One token, written out."""
    W_enc, b_enc, W_dec, b_dec = (
        getattr(sae, name).numpy() for name in ("W_enc", "b_enc", "W_dec", "b_dec")
    )
    mean, std, z = 0.0, 1.0, x
    if sae.input_norm == "layer_norm":
        mean, std = x.mean(), x.std(ddof=1)
        z = (x - mean) / (std + 1e-5)
    if sae.input_norm == "constant_norm_rescale":
        std = np.linalg.norm(x) / np.sqrt(len(x))
        z = x / std
    pre = (z - b_dec) @ W_enc + b_enc
    keep = np.argsort(-pre)[: sae.k] if sae.k else np.arange(len(pre))
    latents = np.zeros_like(pre)
    latents[keep] = np.maximum(pre[keep], 0)
    if sae.architecture == "jumprelu":
        latents[pre <= sae.threshold.numpy()] = 0
    return latents, (latents @ W_dec + b_dec) * std + mean


@pytest.mark.parametrize("input_norm", NORMS)
@pytest.mark.parametrize(("architecture", "k"), CASES)
def test_forward_equals_the_twin(architecture, k, input_norm):
    sae, x = random_sae(architecture, k, input_norm), tokens(2, 5)
    out = sae(x)
    for index in np.ndindex(2, 5):
        latents, x_hat = twin(sae, x[index].numpy())
        np.testing.assert_allclose(out.latents[index], latents, atol=1e-12)
        np.testing.assert_allclose(out.x_hat[index], x_hat, atol=1e-12)


def test_decode_keeps_no_state():
    sae = random_sae("vanilla", None, "layer_norm")
    x, other = tokens(4), 100 * tokens(4, seed=2)
    code, expected = sae.encode(x), sae(x).x_hat
    sae(other)
    torch.testing.assert_close(sae.decode(code.latents, code.mean, code.std), expected)


@pytest.mark.parametrize("input_norm", NORMS)
def test_moving_a_latent_by_one_moves_x_hat_by_sigma_n(input_norm):
    sae, x = random_sae("vanilla", None, input_norm), tokens(3)
    code = sae.encode(x)
    moved = code.latents.clone()
    moved[:, 7] += 1
    change = sae.decode(moved, code.mean, code.std) - sae(x).x_hat
    torch.testing.assert_close(change, sae.token_scale(x) * sae.W_dec[7])


def test_a_trainable_sae_gives_gradients_through_top_k():
    sae = random_sae("topk", 3, "none").requires_grad_()
    sae(tokens(4)).x_hat.sum().backward()
    assert sae.W_enc.grad.abs().sum() > 0


def test_jumprelu_is_strict_at_its_threshold_and_never_negative():
    sae = Sae(2, 4, "jumprelu")
    assert sae.threshold.tolist() == [0] * 4
    sae.b_enc.copy_(torch.tensor([1.0, 1.0, -1.0, float("nan")]))
    sae.threshold.copy_(torch.tensor([1.0, 0.5, -2.0, 0.0]))
    latents = sae.encode(torch.zeros(1, 2)).latents[0]
    assert latents[:3].tolist() == [0, 1, 0] and latents[3].isnan()


def test_gradients_pass_jumprelu_where_it_is_open():
    sae = random_sae("jumprelu", None, "none").requires_grad_()
    code = sae.encode(tokens(4))
    code.latents.sum().backward()
    torch.testing.assert_close(sae.b_enc.grad, (code.latents > 0).double().sum(0))


def test_only_jumprelu_has_a_threshold():
    for architecture, k in (("vanilla", None), ("topk", 3)):
        sae = Sae(2, 4, architecture, k=k)
        assert sae.threshold is None and "threshold" not in sae.state_dict()
    assert Sae(2, 4, "jumprelu", k=3).k is None


def test_a_token_of_zeros_has_a_reconstruction():
    sae = random_sae("vanilla", None, "constant_norm_rescale")
    assert sae(torch.zeros(1, D_MODEL).double()).x_hat.tolist() == [[0.0] * D_MODEL]


def test_wrong_width_and_wrong_words():
    with pytest.raises(ValueError, match="reads tokens of width 8, got 9"):
        Sae(8, 24, "vanilla")(torch.zeros(2, 9))
    with pytest.raises(ValueError, match="unknown SAE architecture 'gated'"):
        Sae(8, 24, "gated")
    with pytest.raises(ValueError, match="needs 1 <= k <= 24; k is 25"):
        Sae(8, 24, "topk", k=25)
    with pytest.raises(ValueError, match="unknown input_norm 'batch'"):
        Sae(8, 24, "vanilla", input_norm="batch")


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(0, 10**6),
    st.sampled_from([0, 1, 3]),
    st.data(),
)
def test_top_k_columns(rows, width, seed, distinct, data):
    """Few distinct values make ties."""
    k = data.draw(st.integers(1, width))
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, width)).astype("f4")
    if distinct:
        values = rng.integers(0, distinct + 1, size=(rows, width)).astype("f4")
    columns = top_k_columns(torch.from_numpy(values), k).numpy()
    assert columns.shape == (rows, k)
    assert (np.diff(columns, axis=1) > 0).all()
    chosen = np.sort(np.take_along_axis(values, columns, axis=1), axis=1)
    np.testing.assert_array_equal(chosen, np.sort(values, axis=1)[:, width - k :])


def test_top_k_columns_with_a_tie_in_one_row_and_a_nan_in_another():
    values = torch.tensor([[1.0, 1.0, 0.0, -1.0], [float("nan")] * 4])
    columns = top_k_columns(values, 1)
    assert columns.shape == (2, 1) and columns[0, 0] in (0, 1)

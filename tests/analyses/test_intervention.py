"""Edits of activations: identities, slow NumPy twins, and the equality of the two hooks' edits."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tiny_clip import tiny_source

from clip_sae.analyses.shared.edits import ablate, replace, steer, steer_neurons, token_mask
from clip_sae.clip.model import HOOKS, load_clip

D_MODEL, D_SAE = 32, 48
EXACT = {"rtol": 0.0, "atol": 1e-5}


@dataclass
class Encoded:
    latents: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor


class PlainSae:
    """The simplest SAE with every part of Eq. 3: ReLU latents, biases, optional input norm."""

    def __init__(self, layer_norm: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        self.layer_norm = layer_norm
        self.W_enc = torch.randn(D_MODEL, D_SAE, generator=generator)
        rows = torch.randn(D_SAE, D_MODEL, generator=generator)
        self.W_dec = rows / rows.norm(dim=-1, keepdim=True)
        self.b_enc = torch.randn(D_SAE, generator=generator)
        self.b_dec = torch.randn(D_MODEL, generator=generator)

    def token_scale(self, x):
        return x.std(dim=-1, keepdim=True) if self.layer_norm else torch.ones_like(x[..., :1])

    def encode(self, x):
        mean = x.mean(dim=-1, keepdim=True) if self.layer_norm else torch.zeros_like(x[..., :1])
        std = self.token_scale(x)
        z = (x - mean) / (std + 1e-5) if self.layer_norm else x
        return Encoded(torch.relu((z - self.b_dec) @ self.W_enc + self.b_enc), mean, std)

    def decode(self, latents, mean, std):
        return (latents @ self.W_dec + self.b_dec) * std + mean


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_clip(tiny_source(tmp_path_factory.mktemp("tiny")), device="cpu")


@pytest.fixture(scope="module")
def clean(tiny):
    """Activations of every hook and layer, and the embedding, of three images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    return tiny.run_to(tiny.normalise(images), range(3), HOOKS, embedding=True)


@pytest.fixture(params=[False, True], ids=["plain", "layer_norm"])
def sae(request):
    return PlainSae(request.param)


@pytest.fixture
def x():
    return torch.randn(2, 5, D_MODEL, generator=torch.Generator().manual_seed(1)) * 3 + 1


def test_token_masks():
    assert token_mask(4).tolist() == [True] * 4
    assert token_mask(4, "cls").tolist() == [True, False, False, False]
    assert token_mask(4, "patch").tolist() == [False, True, True, True]
    with pytest.raises(ValueError, match="tokens 'patches' do not exist; write all, cls, patch"):
        token_mask(4, "patches")


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("layer", range(3))
@pytest.mark.parametrize("tokens", ["all", "cls", "patch"])
def test_replacing_a_hook_by_itself_is_the_clean_model(tiny, clean, hook, layer, tokens):
    old = clean[hook, layer]
    mask = token_mask(5, tokens)
    embedding = replace(tiny, clean["resid_post", layer], layer, hook, old, old, mask)
    torch.testing.assert_close(embedding, clean["embedding", 2], **EXACT)


@pytest.mark.parametrize("tokens", ["all", "cls", "patch"])
@pytest.mark.parametrize("hook", HOOKS)
def test_replacing_equals_a_forward_hook_in_the_whole_model(tiny, clean, hook, tokens):
    """The same edit made inside open_clip's own forward pass, from the pixels."""
    layer, mask = 1, token_mask(5, tokens)
    new = torch.randn(3, 5, D_MODEL, generator=torch.Generator().manual_seed(2))
    block = tiny.visual.transformer.resblocks[layer]
    place = block if hook == "resid_post" else block.mlp
    handle = place.register_forward_hook(lambda _m, _i, out: torch.where(mask[:, None], new, out))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    expected = tiny.module.encode_image(tiny.normalise(images))
    handle.remove()
    ours = replace(tiny, clean["resid_post", layer], layer, hook, new, clean[hook, layer], mask)
    torch.testing.assert_close(ours, expected, **EXACT)
    assert not torch.allclose(ours, clean["embedding", 2], atol=1e-3)


def test_zero_ablation_of_the_mlp_takes_its_output_away(tiny, clean):
    x, mlp_out = clean["resid_post", 1], clean["mlp_out", 1]
    ours = replace(tiny, x, 1, "mlp_out", torch.zeros_like(mlp_out), mlp_out, token_mask(5))
    torch.testing.assert_close(ours, tiny.run_from(x - mlp_out, 1), **EXACT)


def test_an_unknown_hook_is_named(tiny, clean):
    x = clean["resid_post", 1]
    with pytest.raises(ValueError, match="'mlp_in' does not exist; hooks: resid_post, mlp_out"):
        replace(tiny, x, 1, "mlp_in", x, x, token_mask(5))


def test_steering_matches_eq_4_written_out(sae, x):
    latents, values = [3, 17], [150.0, -2.0]
    f = sae.encode(x).latents
    sigma = sae.token_scale(x)
    expected = x.double().numpy().copy()
    for i in range(2):
        for t in range(5):
            for j, s in zip(latents, values, strict=True):
                push = float(sigma[i, t, 0]) * (s - float(f[i, t, j]))
                expected[i, t] += push * sae.W_dec[j].double().numpy()
    ours = steer(x, sae, latents, torch.tensor(values))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-3)


def test_steering_a_latent_to_its_own_value_changes_nothing(sae, x):
    f = sae.encode(x).latents
    torch.testing.assert_close(steer(x, sae, [3, 17], f[..., [3, 17]]), x, **EXACT)


def test_ablating_nothing_is_the_clean_activation(sae, x):
    torch.testing.assert_close(ablate(x, sae, []), x, **EXACT)


def test_ablating_is_steering_to_zero_and_keeps_the_error(sae, x):
    latents = [0, 5, 9]
    encoded = sae.encode(x)
    assert encoded.latents[..., latents].any()
    without = encoded.latents.clone()
    without[..., latents] = 0
    error = x - sae.decode(encoded.latents, encoded.mean, encoded.std)
    expected = sae.decode(without, encoded.mean, encoded.std) + error
    torch.testing.assert_close(ablate(x, sae, latents), expected, rtol=1e-4, atol=1e-4)


def test_dropping_the_error_is_the_decoding_of_edited_latents(sae, x):
    encoded = sae.encode(x)
    edited = encoded.latents.clone()
    edited[..., 7] = 4.0
    expected = sae.decode(edited, encoded.mean, encoded.std)
    torch.testing.assert_close(steer(x, sae, [7], 4.0, error="drop"), expected, **EXACT)
    with pytest.raises(ValueError, match="error 'add' does not exist; write keep, drop"):
        steer(x, sae, [7], 4.0, error="add")


@pytest.mark.parametrize("error", ["keep", "drop"])
@pytest.mark.parametrize("tokens", ["cls", "patch"])
def test_only_the_masked_tokens_change(sae, x, tokens, error):
    mask = token_mask(5, tokens)
    before = x.clone()
    steered = steer(x, sae, [7], 9.0, mask=mask, error=error)
    assert torch.equal(steered[:, ~mask], x[:, ~mask])
    assert not torch.isclose(steered[:, mask], x[:, mask]).all(dim=-1).any()
    assert torch.equal(x, before)


def test_steering_neurons_sets_coordinates(x):
    before = x.clone()
    steered = steer_neurons(x, [2, 30], 150.0)
    assert (steered[..., [2, 30]] == 150).all()
    others = [j for j in range(D_MODEL) if j not in (2, 30)]
    assert torch.equal(steered[..., others], x[..., others])
    masked = steer_neurons(x, [2], 1.0, mask=token_mask(5, "cls"))
    assert torch.equal(masked[:, 1:], x[:, 1:])
    assert (masked[:, 0, 2] == 1).all()
    assert torch.equal(x, before)


def test_gradients_flow_through_an_edit(tiny, clean, sae):
    x = clean["resid_post", 1].clone().requires_grad_()
    tiny.run_from(steer(x, sae, [1], 2.0), 1).sum().backward()
    assert x.grad.abs().sum() > 0

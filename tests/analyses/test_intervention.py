"""The intervention against its NumPy twin, its identities, and the replacement of a hook."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_clip import tiny_source

from clip_sae.analyses.shared.edits import (
    ERRORS,
    TOKENS,
    EncodedTokens,
    at_tokens,
    moved,
    reaches_output,
    replace,
    token_mask,
)
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.clip.model import HOOKS, load_clip
from clip_sae.sae import Sae

D_MODEL, D_SAE, N_TOKENS = 32, 48, 5
EXACT = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_clip(tiny_source(tmp_path_factory.mktemp("tiny")), device="cpu")


@pytest.fixture(scope="module")
def clean(tiny):
    """Activations of every hook and layer, and the embedding, of three images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    return tiny.run_to(tiny.normalise(images), range(3), HOOKS, embedding=True)


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
    module = block if hook == "resid_post" else block.mlp
    handle = module.register_forward_hook(lambda _m, _i, out: torch.where(mask[:, None], new, out))
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


def test_the_last_layer_needs_cls_alone(tiny):
    assert [reaches_output(tiny, layer) for layer in range(3)] == ["all", "all", "cls"]


# --- the formula ---


def an_sae(architecture: str, input_norm: str, seed: int) -> Sae:
    """An SAE with random weights and rows of unit length, which fires on about half of tokens."""
    k = 6 if architecture == "topk" else None
    sae = Sae(D_MODEL, D_SAE, architecture, k=k, input_norm=input_norm)
    generator = torch.Generator().manual_seed(seed)
    for weights in sae.parameters():
        weights.copy_(torch.randn(weights.shape, generator=generator))
    sae.W_dec.div_(sae.W_dec.norm(dim=-1, keepdim=True))
    return sae


@st.composite
def edits(draw):
    """An SAE, tokens of two images, chosen latents, their new values [j], error and tokens."""
    seed = draw(st.integers(0, 50))
    sae = an_sae(
        draw(st.sampled_from(["vanilla", "topk", "jumprelu"])),
        draw(st.sampled_from(["none", "layer_norm", "constant_norm_rescale"])),
        seed,
    )
    generator = torch.Generator().manual_seed(seed + 1)
    x = torch.randn(2, N_TOKENS, D_MODEL, generator=generator) * draw(st.floats(0.1, 10)) + 1
    latents = draw(st.lists(st.integers(0, D_SAE - 1), unique=True, max_size=12))
    number = st.floats(-150, 150, width=32)
    values = draw(st.lists(number, min_size=len(latents), max_size=len(latents)))
    error, tokens = draw(st.sampled_from(ERRORS)), draw(st.sampled_from(TOKENS))
    return sae, x, latents, np.array(values, dtype=np.float32), error, tokens


def edited(sae, x, latents, values, error, tokens):
    """The edit as analyses make it."""
    batch = EncodedTokens(sae, x)
    units = torch.as_tensor(latents, dtype=torch.long)
    move = batch.move(units, torch.as_tensor(values))
    return at_tokens(moved(batch.base(error), batch.scale, move), x, token_mask(N_TOKENS, tokens))


def numpy_twin(sae, x, latents, values, error, tokens):
    """Eq. 4 written out in float64: f of the masked tokens is set, then decoded."""
    weights, bias = sae.W_dec.double().numpy(), sae.b_dec.double().numpy()
    f = sae.encode(x).latents.double().numpy()
    x = x.double().numpy()
    if sae.input_norm == "layer_norm":
        mean, scale = x.mean(-1, keepdims=True), x.std(-1, ddof=1, keepdims=True)
    elif sae.input_norm == "constant_norm_rescale":
        mean, scale = 0.0, np.sqrt(np.square(x).mean(-1, keepdims=True))
    else:
        mean, scale = 0.0, 1.0
    own = (f @ weights + bias) * scale + mean
    f_set = f.copy()
    f_set[..., latents] = values
    decoded = (f_set @ weights + bias) * scale + mean
    found = decoded if error == "drop" else decoded + (x - own)
    at = {"all": slice(None), "cls": slice(1), "patch": slice(1, None)}[tokens]
    out = x.copy()
    out[:, at] = found[:, at]
    return out


@given(edits())
def test_an_edit_is_the_formula_in_numpy(case):
    np.testing.assert_allclose(edited(*case), numpy_twin(*case), rtol=1e-4, atol=5e-3)


@given(edits())
def test_only_the_masked_tokens_change_and_the_input_stays(case):
    sae, x, latents, values, error, tokens = case
    before, mask = x.clone(), token_mask(N_TOKENS, tokens)
    found = edited(*case)
    assert torch.equal(found[:, ~mask], x[:, ~mask])
    whole = edited(sae, x, latents, values, error, "all")
    assert torch.equal(found[:, mask], whole[:, mask])
    assert torch.equal(x, before)


@given(edits())
def test_a_latent_set_to_its_own_value_changes_no_bit(case):
    sae, x, latents, _, error, tokens = case
    batch = EncodedTokens(sae, x)
    base = at_tokens(batch.base(error), x, token_mask(N_TOKENS, tokens))
    own = batch.latents[..., latents]
    assert torch.equal(edited(sae, x, latents, own, error, tokens), base)
    assert torch.equal(edited(sae, x, [], own[..., :0], error, tokens), base)


@given(edits(), st.booleans())
def test_nested_sets_are_edits_of_their_first_units(case, fills):
    sae, x, latents, values, _, _ = case
    fill = torch.zeros(D_SAE)
    fill[latents] = torch.as_tensor(values)
    order, sizes = np.array(latents, dtype=np.int64), sorted({0, len(latents) // 2, len(latents)})
    units = Latents(sae, fill if fills else None)
    for size, found in zip(sizes, units.on(x).nested(order, sizes), strict=True):
        wanted = values[:size] if fills else np.zeros(size, dtype=np.float32)
        expected = numpy_twin(sae, x, latents[:size], wanted, "keep", "all")
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=5e-3)
        assert size or torch.equal(found, x)


@given(edits())
def test_neurons_set_coordinates(case):
    _, x, latents, values, _, _ = case
    order = np.unique(np.array(latents, dtype=np.int64) % D_MODEL)
    fill = torch.zeros(D_MODEL)
    fill[order] = torch.as_tensor(values[: len(order)])
    [found] = Neurons(D_MODEL, fill).on(x).nested(order, [len(order)])
    expected = x.numpy().copy()
    expected[..., order] = values[: len(order)]
    np.testing.assert_array_equal(found, expected)


def test_edits_of_several_layers_act_one_after_the_other(tiny, clean):
    """A forward hook in every block of open_clip's own pass gives the same embedding."""
    saes = {layer: an_sae("vanilla", "layer_norm", layer) for layer in range(3)}
    cases = {layer: ([layer, 7, 20], np.float32([3, 0, -2]), "keep", "all") for layer in saes}
    x = clean["resid_post", 0]
    for layer, sae in saes.items():
        x = edited(sae, tiny.run_between(x, max(layer - 1, 0), layer), *cases[layer])
    blocks = tiny.visual.transformer.resblocks
    handles = [
        blocks[layer].register_forward_hook(
            lambda _m, _i, out, layer=layer: torch.as_tensor(
                numpy_twin(saes[layer], out, *cases[layer]), dtype=out.dtype
            )
        )
        for layer in saes
    ]
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    expected = tiny.module.encode_image(tiny.normalise(images))
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(tiny.run_from(x, 2), expected, rtol=1e-4, atol=1e-4)


def test_an_unknown_error_is_named():
    batch = EncodedTokens(an_sae("vanilla", "none", 0), torch.zeros(1, D_MODEL))
    with pytest.raises(ValueError, match="error 'add' does not exist; write keep, drop"):
        batch.base("add")

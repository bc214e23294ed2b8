"""Both entries into CLIP agree with open_clip's own forward pass for every tower."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import tiny_source
from torchvision import transforms

from clip_sae.clip.model import HOOKS, load_clip
from clip_sae.planning.architecture import ModelSource

DEMO = Path(__file__).parents[2] / "workflow" / "resources" / "demo_clip"
TOLERANCE = {"rtol": 0.0, "atol": 1e-5}  # in float32

# Each entry changes one option of open_clip's VisionTransformer.
TOWERS = {
    "plain": {},
    "quick_gelu": {"quick_gelu": True},
    "layer_scale": {"vision": {"ls_init_value": 0.3}},
    "patch_dropout": {"vision": {"patch_dropout": 0.5}},
    "average_pool": {"vision": {"pool_type": "avg", "final_ln_after_pool": True}},
    "no_ln_pre": {"vision": {"no_ln_pre": True}},
    "sin_cos": {"vision": {"pos_embed_type": "sin_cos_2d"}},
    "custom_block": {"vision": {"qk_norm": True, "scale_heads": True, "scale_fc": True}},
    "custom_text": {"custom_text": True},
}


def random_images(model, n, seed=0):
    size = model.architecture.image_size
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def block_outputs(model, pixels):
    """Return every block's output in open_clip's own forward pass, and its image embedding."""
    found = []
    handles = [
        block.register_forward_hook(lambda _m, _i, output: found.append(output))
        for block in model.visual.transformer.resblocks
    ]
    embedding = model.module.encode_image(pixels)
    for handle in handles:
        handle.remove()
    return found, embedding


def assert_entries_agree(model, n):
    pixels = model.normalise(random_images(model, n))
    blocks, embedding = block_outputs(model, pixels)
    n_layers = model.architecture.n_layers
    found = model.run_to(pixels, range(n_layers), HOOKS, embedding=True)
    torch.testing.assert_close(found["embedding", n_layers - 1], embedding, **TOLERANCE)
    for layer in range(n_layers):
        resid_post = found["resid_post", layer]
        assert resid_post.shape == (n, model.architecture.n_tokens, model.architecture.d_model)
        torch.testing.assert_close(resid_post, blocks[layer], **TOLERANCE)
        torch.testing.assert_close(model.run_from(resid_post, layer), embedding, **TOLERANCE)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_clip(tiny_source(tmp_path_factory.mktemp("tiny")), device="cpu")


@pytest.mark.parametrize("name", TOWERS)
def test_both_entries_agree_with_open_clip_on_every_kind_of_tower(tmp_path, name):
    assert_entries_agree(load_clip(tiny_source(tmp_path, **TOWERS[name]), device="cpu"), n=3)


def test_both_entries_agree_on_b32():
    assert_entries_agree(load_clip(ModelSource("ViT-B-32", "random:0"), device="cpu"), n=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-16", "ViT-L-14"])
def test_both_entries_agree_on_larger_towers(name):
    assert_entries_agree(load_clip(ModelSource(name, "random:0"), device="cpu"), n=1)


@pytest.mark.skipif(not any(DEMO.glob("*.safetensors")), reason="the demo CLIP is not there")
def test_both_entries_agree_on_the_demo():
    model = load_clip(ModelSource(f"local-dir:{DEMO}"), device="cpu")
    assert_entries_agree(model, n=2)
    assert model.embed_text(["a photo of a dog"]).shape == (1, model.architecture.d_embed)


def test_towers_with_tokens_first_agree(tiny, tmp_path):
    flipped = load_clip(tiny_source(tmp_path), device="cpu")
    pixels = tiny.normalise(random_images(tiny, 2))
    for block in flipped.visual.transformer.resblocks:
        block.attn.batch_first = False
    flipped.visual.transformer.batch_first = False
    expected = tiny.run_to(pixels, range(3), HOOKS)
    for key, value in flipped.run_to(pixels, range(3), HOOKS).items():
        torch.testing.assert_close(value, expected[key], **TOLERANCE)
    torch.testing.assert_close(
        flipped.run_from(expected["resid_post", 0], 0),
        tiny.run_from(expected["resid_post", 0], 0),
        **TOLERANCE,
    )


@pytest.mark.parametrize("name", ["plain", "layer_scale"])
def test_mlp_out_is_what_the_mlp_adds_to_the_stream(tmp_path, name):
    model = load_clip(tiny_source(tmp_path, **TOWERS[name]), device="cpu")
    pixels = model.normalise(random_images(model, 2))
    found = model.run_to(pixels, [0, 1], HOOKS)
    block = model.visual.transformer.resblocks[1]
    x = found["resid_post", 0]
    after_attention = x + block.ls_1(block.attention(block.ln_1(x)))
    torch.testing.assert_close(
        after_attention + found["mlp_out", 1], found["resid_post", 1], **TOLERANCE
    )


def test_only_the_blocks_up_to_the_last_wanted_layer_run(tiny):
    ran = []
    blocks = tiny.visual.transformer.resblocks
    handles = [b.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, b in enumerate(blocks)]
    pixels = tiny.normalise(random_images(tiny, 1))
    found = tiny.run_to(pixels, [1], ["mlp_out"])
    assert ran == [0, 1]
    assert list(found) == [("mlp_out", 1)]
    ran.clear()
    tiny.run_from(torch.zeros(1, 5, 32), 1)
    assert ran == [2]
    ran.clear()
    tiny.run_from(torch.zeros(1, 5, 32), 2)
    assert ran == []
    for handle in handles:
        handle.remove()


def test_pairs_give_just_the_pairs(tiny):
    pixels = tiny.normalise(random_images(tiny, 1))
    pairs = [("mlp_out", 0), ("resid_post", 2)]
    found = tiny.run_to_pairs(pixels, pairs)
    assert set(found) == set(pairs)
    torch.testing.assert_close(
        found["resid_post", 2], tiny.run_to(pixels, [2])["resid_post", 2], **TOLERANCE
    )


def test_batch_size_does_not_matter(tiny):
    pixels = tiny.normalise(random_images(tiny, 5))
    whole = tiny.run_to(pixels, [2])["resid_post", 2]
    parts = [tiny.run_to(part, [2])["resid_post", 2] for part in pixels.split(2)]
    torch.testing.assert_close(torch.cat(parts), whole, **TOLERANCE)


def test_cls_alone_is_enough_after_the_last_layer(tiny):
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tiny.run_from(x[:, :1], 2), tiny.run_from(x, 2), **TOLERANCE)


def test_further_tokens_may_join_the_stream(tiny):
    assert tiny.run_from(torch.randn(2, 5 + 3, 32), 0).shape == (2, 8)


def test_hooks_are_gone_afterwards_even_after_an_error(tiny):
    with pytest.raises(RuntimeError):
        tiny.run_to(torch.zeros(1, 3, 24, 24), [1], ["mlp_out"])
    assert not any(block.ls_2._forward_hooks for block in tiny.visual.transformer.resblocks)


def test_gradients_reach_the_stream_but_not_the_weights(tiny):
    x = torch.randn(1, 5, 32, requires_grad=True)
    tiny.run_from(x, 0).sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in tiny.module.parameters())


def test_normalise_equals_torchvision(tiny):
    images = random_images(tiny, 3)
    pipeline = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(tiny.mean, tiny.std)]
    )
    expected = torch.stack([pipeline(Image.fromarray(image)) for image in images])
    torch.testing.assert_close(tiny.normalise(images), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        tiny.normalise(torch.from_numpy(images)), expected, rtol=0, atol=1e-6
    )


def test_normalise_leaves_its_input_and_refuses_other_shapes(tiny):
    images = random_images(tiny, 1)
    before = images.copy()
    tiny.normalise(images)
    np.testing.assert_array_equal(images, before)
    with pytest.raises(ValueError, match=r"needs uint8 \[image, 16, 16, 3\]; got torch.float32"):
        tiny.normalise(images.astype(np.float32))
    with pytest.raises(ValueError, match=r"decode_image\(path, image_size=16\)"):
        tiny.normalise(images[:, :8])


def test_layers_and_hooks_that_do_not_exist_are_named(tiny):
    with pytest.raises(ValueError, match="layer 3 is not in .*its 3 layers are 0 to 2"):
        tiny.run_to(torch.zeros(1, 3, 16, 16), [3])
    with pytest.raises(ValueError, match="layer -1"):
        tiny.run_from(torch.zeros(1, 5, 32), -1)
    with pytest.raises(ValueError, match="'resid_pre' does not exist; hooks: resid_post, mlp_out"):
        tiny.run_to(torch.zeros(1, 3, 16, 16), [0], ["resid_pre"])


def test_embeddings_have_unit_length_and_text_batches_do_not_matter(tiny):
    images = tiny.embed_images(tiny.normalise(random_images(tiny, 2)))
    text = tiny.embed_text(["a dog", "a cat", "a bird"])
    assert images.shape == (2, 8)
    torch.testing.assert_close(images.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(tiny.embed_text(["a dog", "a cat", "a bird"], 2), text, **TOLERANCE)
    tokens = tiny.tokenizer(["a dog", "a cat", "a bird"])
    torch.testing.assert_close(tiny.module.encode_text(tokens, normalize=True), text, **TOLERANCE)
    assert tiny.embed_text([]).shape == (0, 8)


def test_logit_scale_is_not_a_logarithm(tiny):
    assert tiny.logit_scale == pytest.approx(1 / 0.07)


def test_bfloat16_keeps_the_stream_in_float32(tmp_path):
    source = tiny_source(tmp_path)
    exact, fast = (
        load_clip(source, device="cpu"),
        load_clip(source, device="cpu", precision="bfloat16"),
    )
    pixels = exact.normalise(random_images(exact, 2))
    expected = exact.run_to(pixels, range(3), HOOKS, embedding=True)
    for key, value in fast.run_to(pixels, range(3), HOOKS, embedding=True).items():
        assert value.dtype == torch.float32
        assert not torch.equal(value, expected[key])
        # bfloat16 has 8 bits of mantissa: products are right to about 1 %.
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0.03)
    again = fast.run_from(expected["resid_post", 0], 0)
    torch.testing.assert_close(again, expected["embedding", 2], rtol=0, atol=0.03)
    torch.testing.assert_close(fast.embed_text(["a dog"]), exact.embed_text(["a dog"]), **TOLERANCE)


def test_precision_is_checked(tmp_path):
    with pytest.raises(ValueError, match="precision 'fp16' does not exist; write auto, float32"):
        load_clip(tiny_source(tmp_path), device="cpu", precision="fp16")

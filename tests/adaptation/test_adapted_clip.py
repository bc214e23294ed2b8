"""Adapted models: without prompts the frozen one, and both entries agree with the whole."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_clip import tiny_source
from torch.nn import functional as F

from clip_sae.adaptation import (
    AdaptedClip,
    Prompts,
    PromptSpec,
    combine,
    load_prompts,
    save_prompts,
)
from clip_sae.adaptation.text_side import first_words, text_width
from clip_sae.clip.model import load_clip
from clip_sae.clip.zeroshot import class_embeddings
from clip_sae.planning.architecture import ModelError, ModelSource

DEMO = Path(__file__).resolve().parents[2] / "workflow/resources/demo_clip"
NAMES = ["sun", "key", "boat"]
SPECS = {
    "coop": PromptSpec("coop", n_context=4),
    "vpt": PromptSpec("vpt", n_visual=3, depth=2),
    "vpt_all_blocks": PromptSpec("vpt", n_visual=2, depth=3),
    "maple": PromptSpec("maple", n_context=2, n_visual=2, depth=3),
}
ALMOST = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module", params=["demo", "tiny"])
def clip(request, tmp_path_factory):
    """The demo, and open_clip's own tokenizer with random weights (one text block, three image)."""
    if request.param == "demo":
        return load_clip(ModelSource(f"local-dir:{DEMO}"), device="cpu")
    return load_clip(tiny_source(tmp_path_factory.mktemp("tiny")), device="cpu")


def pixels_of(clip, n=3, seed=0):
    size = clip.architecture.image_size
    images = np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return clip.normalise(images)


def prompts_of(clip, spec, seed=0):
    words = first_words(clip, spec.template, spec.n_context) if spec.n_context else None
    return Prompts(spec, text_width(clip), clip.architecture.d_model, seed=seed, words=words)


def frozen_embeddings(clip, pixels):
    return clip.embed_images(pixels)


@pytest.mark.parametrize("kind", ["coop", "vpt", "maple"])
def test_prompts_of_zero_length_are_the_frozen_model_bit_for_bit(clip, kind):
    adapted = AdaptedClip.of_prompts(clip, prompts_of(clip, PromptSpec(kind, depth=2)))
    pixels = pixels_of(clip)
    with torch.no_grad():
        assert torch.equal(adapted.embed_images(pixels), frozen_embeddings(clip, pixels))
        expected = clip.run_to(pixels, [0, 1])
        for layer, x in adapted.run_to(pixels, [0, 1]).items():
            assert torch.equal(x, expected["resid_post", layer])
            wanted = F.normalize(clip.run_from(x, layer), dim=-1)
            assert torch.equal(adapted.run_from(x, layer), wanted)
        text = clip.embed_text([adapted.text.template.replace("{}", name) for name in NAMES])
        torch.testing.assert_close(adapted.class_embeddings(NAMES), text, **ALMOST)


@pytest.mark.parametrize("name", SPECS)
def test_a_model_with_its_prompts_removed_is_the_original(clip, name):
    adapted = AdaptedClip.of_prompts(clip, prompts_of(clip, SPECS[name]))
    bare = AdaptedClip.frozen(clip, adapted.text.template)
    original = clip.embed_text([bare.text.template.replace("{}", name) for name in NAMES])
    pixels = pixels_of(clip)
    with torch.no_grad():
        adapted.embed_images(pixels), adapted.class_embeddings(NAMES)  # leaves no hook behind
        assert torch.equal(bare.embed_images(pixels), frozen_embeddings(clip, pixels))
        torch.testing.assert_close(bare.class_embeddings(NAMES), original, **ALMOST)
    assert bare.n_prompts == 0
    for module in clip.module.modules():
        assert not module._forward_pre_hooks and not module._forward_hooks


@pytest.mark.parametrize("name", SPECS)
def test_run_to_then_run_from_equals_the_whole_forward_pass(clip, name):
    adapted = AdaptedClip.of_prompts(clip, prompts_of(clip, SPECS[name]))
    pixels, sizes = pixels_of(clip), clip.architecture
    with torch.no_grad():
        whole = adapted.embed_images(pixels)
        for layer, x in adapted.run_to(pixels, range(sizes.n_layers)).items():
            assert x.shape == (3, sizes.n_tokens + adapted.n_prompts, sizes.d_model)
            torch.testing.assert_close(adapted.run_from(x, layer), whole, **ALMOST)
    if SPECS[name].n_visual:
        assert not torch.allclose(whole, frozen_embeddings(clip, pixels), atol=1e-4)


def test_own_prompts_are_put_in_whatever_stands_behind_the_patches(clip):
    adapted = AdaptedClip.of_prompts(clip, prompts_of(clip, SPECS["vpt"]))
    n_tokens = clip.architecture.n_tokens
    with torch.no_grad():
        x = adapted.run_to(pixels_of(clip), [0, 1])
        # Block 1 gets prompts anew (depth 2), so those that left block 0 make no difference ...
        whole = adapted.run_from(x[0], 0)
        assert torch.equal(adapted.run_from(x[0][:, :n_tokens], 0), whole)
        # ... but block 2 reads those that left block 1.
        assert not torch.allclose(adapted.run_from(x[1][:, :n_tokens], 1), whole, atol=1e-5)


def test_visual_prompts_follow_the_definition_block_by_block(clip):
    """A slow twin: tokens put together by hand and run through the blocks one at a time."""
    spec = PromptSpec("vpt", n_visual=2, depth=2)
    prompts = prompts_of(clip, spec)
    visual, n = clip.visual, clip.architecture.n_tokens
    pixels = pixels_of(clip)
    with torch.no_grad():
        x = visual._embeds(pixels)
        for layer, block in enumerate(visual.transformer.resblocks):
            if layer < 2:
                own = prompts.visual_prompts()[layer]
                own = visual.ln_pre(own) if layer == 0 else own
                x = torch.cat([x[:, :n], own.expand(len(x), -1, -1)], dim=1)
            x = block(x)
        expected = F.normalize(visual.ln_post(x[:, 0]) @ visual.proj, dim=-1)
        found = AdaptedClip.of_prompts(clip, prompts).embed_images(pixels)
    torch.testing.assert_close(found, expected, **ALMOST)


@pytest.mark.parametrize("template", ["a photo of a {}.", "this is a picture of a {}"])
def test_the_words_own_embeddings_reproduce_the_ordinary_text(clip, template):
    spec = PromptSpec("coop", template, n_context=4)
    with torch.no_grad():
        found = AdaptedClip.of_prompts(clip, prompts_of(clip, spec)).class_embeddings(NAMES)
        torch.testing.assert_close(found, class_embeddings(clip, NAMES, [template]), **ALMOST)
        other = Prompts(spec, text_width(clip), clip.architecture.d_model)
        drawn = AdaptedClip.of_prompts(clip, other).class_embeddings(NAMES)
    assert not torch.allclose(drawn, found, atol=1e-4)


def test_deep_text_prompts_follow_the_definition_block_by_block(clip):
    spec = SPECS["maple"]
    prompts = prompts_of(clip, spec)
    module = clip.module
    tokens = clip.tokenizer([spec.template.replace("{}", name) for name in NAMES])
    with torch.no_grad():
        x = module.token_embedding(tokens)
        for layer, block in enumerate(module.transformer.resblocks):
            if layer < 3:
                x[:, 1:3] = prompts.context[layer]
            if layer == 0:
                x = x + module.positional_embedding
            x = block(x, attn_mask=module.attn_mask)
        ended = module.ln_final(x)[torch.arange(3), tokens.argmax(-1)]
        expected = F.normalize(ended @ module.text_projection, dim=-1)
        found = AdaptedClip.of_prompts(clip, prompts).class_embeddings(NAMES)
    torch.testing.assert_close(found, expected, **ALMOST)


@pytest.mark.parametrize("name", SPECS)
def test_gradients_reach_every_prompt_and_nothing_else(clip, name):
    prompts = prompts_of(clip, SPECS[name])
    adapted = AdaptedClip.of_prompts(clip, prompts)
    images, text = adapted.embed_images(pixels_of(clip)), adapted.class_embeddings(NAMES)
    F.cross_entropy(20 * images @ text.T, torch.arange(3)).backward()
    for name, parameter in prompts.named_parameters():
        reached = parameter.grad.flatten(1).abs().sum(1) > 0  # [block]
        assert reached.all(), (name, reached)
    assert all(parameter.grad is None for parameter in clip.module.parameters())


@settings(max_examples=10, deadline=None)
@given(n=st.integers(1, 5), depth=st.integers(1, 3), seed=st.integers(0, 100))
def test_a_file_brings_back_every_kind_of_prompts(tmp_path_factory, n, depth, seed):
    path = tmp_path_factory.mktemp("prompts") / "prompts.safetensors"
    for spec in (
        PromptSpec("coop", n_context=n),
        PromptSpec("vpt", n_visual=n, depth=depth),
        PromptSpec("maple", n_context=n, n_visual=n, depth=depth),
    ):
        prompts = Prompts(spec, 16, 32, seed=seed)
        save_prompts(path, prompts, {"model": "tiny"})
        loaded = load_prompts(path)
        assert loaded.spec == spec
        assert torch.equal(loaded.text_prompts(), prompts.text_prompts())
        assert torch.equal(loaded.visual_prompts(), prompts.visual_prompts())
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_maple_maps_each_blocks_context_by_its_own_linear_layer():
    prompts = Prompts(SPECS["maple"], 16, 32)
    for layer in range(3):
        linear = torch.nn.Linear(16, 32)
        linear.weight.data, linear.bias.data = (
            prompts.coupling[layer],
            prompts.coupling_bias[layer],
        )
        torch.testing.assert_close(
            prompts.visual_prompts()[layer], linear(prompts.context[layer]), **ALMOST
        )


def test_sides_combine_crosswise(clip):
    adapted = AdaptedClip.of_prompts(clip, prompts_of(clip, SPECS["maple"], seed=1))
    frozen = AdaptedClip.frozen(clip)
    pixels = pixels_of(clip)
    crossed = combine(blocks_of=adapted, text_of=frozen)
    with torch.no_grad():
        assert torch.equal(crossed.embed_images(pixels), adapted.embed_images(pixels))
        assert torch.equal(crossed.class_embeddings(NAMES), frozen.class_embeddings(NAMES))
    assert crossed.kind == "blocks of maple, text of none"


def test_a_fine_tuned_checkpoint_is_an_adapted_model(tmp_path):
    clip = load_clip(tiny_source(tmp_path / "a"), device="cpu")
    tuned = AdaptedClip.of_checkpoint(clip, tiny_source(tmp_path / "a", seed=1))
    pixels = pixels_of(clip)
    expected = load_clip(tiny_source(tmp_path / "a", seed=1), device="cpu")
    with torch.no_grad():
        assert torch.equal(tuned.embed_images(pixels), expected.embed_images(pixels))
        assert not torch.equal(tuned.embed_images(pixels), clip.embed_images(pixels))
    assert tuned.kind == "checkpoint"
    with pytest.raises(ModelError, match="must be of the same architecture"):
        AdaptedClip.of_checkpoint(clip, tiny_source(tmp_path / "b", vision={"layers": 2}))


def test_a_checkpoint_runs_in_the_frozen_models_precision(tmp_path):
    source = tiny_source(tmp_path)
    clip = load_clip(source, device="cpu", precision="bfloat16")
    tuned = AdaptedClip.of_checkpoint(clip, source).image.model
    assert tuned.autocast_dtype == torch.bfloat16


def test_a_checkpoint_of_another_activation_or_preprocessing_is_refused(tmp_path):
    plain, quick = tiny_source(tmp_path / "a"), tiny_source(tmp_path / "b", quick_gelu=True)
    clip, other = (load_clip(source, device="cpu") for source in (plain, quick))
    message = r"activation QuickGELU of .*has GELU\. Give the method a `model`"
    with pytest.raises(ModelError, match=message):
        AdaptedClip.of_checkpoint(clip, quick)
    with pytest.raises(ModelError, match="activation GELU of .*has QuickGELU"):
        AdaptedClip.of_checkpoint(other, plain)
    assert AdaptedClip.of_checkpoint(other, quick).kind == "checkpoint"
    clip.mean = (0.5, 0.5, 0.5)
    with pytest.raises(
        ModelError, match=r"those of \(0\.5, 0\.5, 0\.5\).* Name as `model` a local"
    ):
        AdaptedClip.of_checkpoint(clip, plain)


def test_a_tower_with_positions_first_gives_the_same(tmp_path):
    plain, flipped = (load_clip(tiny_source(tmp_path / x), device="cpu") for x in "ab")
    for transformer in (flipped.visual.transformer, flipped.module.transformer):
        transformer.batch_first = False
        for block in transformer.resblocks:
            block.attn.batch_first = False
    pixels = pixels_of(plain)
    with torch.no_grad():
        for name in ("vpt", "maple"):
            one, other = (
                AdaptedClip.of_prompts(c, prompts_of(c, SPECS[name])) for c in (plain, flipped)
            )
            torch.testing.assert_close(
                other.embed_images(pixels), one.embed_images(pixels), **ALMOST
            )
            texts = [side.class_embeddings(NAMES) for side in (one, other)]
            torch.testing.assert_close(*texts, **ALMOST)


def test_mistakes_are_told(tmp_path):
    clip = load_clip(tiny_source(tmp_path / "a"), device="cpu")
    with pytest.raises(ValueError, match="'lora' does not exist; write none, coop"):
        PromptSpec("lora")
    with pytest.raises(ValueError, match="one of each"):
        PromptSpec("maple", n_context=2, n_visual=3)
    with pytest.raises(ValueError, match="learns no text"):
        PromptSpec("vpt", n_context=2)
    spec = PromptSpec("coop", "a {}", n_context=4)
    with pytest.raises(ValueError, match="has 1 tokens before the class name, but 4 vectors"):
        AdaptedClip.of_prompts(clip, Prompts(spec, 16, 32))
    with pytest.raises(ValueError, match="3 blocks of width 32"):
        AdaptedClip.of_prompts(clip, Prompts(PromptSpec("vpt", n_visual=1, depth=4), 16, 32))
    averaging = load_clip(tiny_source(tmp_path / "c", vision={"pool_type": "avg"}), device="cpu")
    with pytest.raises(ValueError, match="averages its tokens"):
        AdaptedClip.of_prompts(averaging, Prompts(SPECS["vpt"], 16, 32))
    glued = AdaptedClip.of_prompts(clip, Prompts(PromptSpec("coop", "un{}", n_context=1), 16, 32))
    with pytest.raises(ValueError, match="Put a space before"):
        glued.class_embeddings(["der"])
    path = tmp_path / "other.safetensors"
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="holds no prompts"):
        load_prompts(path)

"""CLS's attention, head by head, against torch's own attention and the network's linearity."""

import numpy as np
import pytest
import torch
from tiny_clip import tiny_source

from clip_sae.analyses.typographic.cls_attention import cls_attention, heads_of, silenced
from clip_sae.clip.model import load_clip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    clip = load_clip(tiny_source(tmp_path_factory.mktemp("tiny")), device="cpu")
    for block in clip.visual.transformer.resblocks:  # biases start at 0, which would hide them
        torch.nn.init.normal_(block.attn.in_proj_bias, std=0.5)
        torch.nn.init.normal_(block.attn.out_proj.bias, std=0.5)
    return clip


@pytest.fixture(scope="module")
def pixels(tiny):
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    return tiny.normalise(images)


def test_every_head_is_listed(tiny):
    assert heads_of(tiny) == [(layer, head) for layer in range(3) for head in range(2)]


def test_weights_are_those_of_torch(tiny, pixels):
    ours = cls_attention(tiny, pixels)
    assert ours.shape == (5, 3, 2, 5)
    torch.testing.assert_close(ours.sum(-1), torch.ones(5, 3, 2))
    with torch.no_grad():
        x = tiny.visual._embeds(pixels)
        for layer, block in enumerate(tiny.visual.transformer.resblocks):
            normed = block.ln_1(x)
            _, weights = block.attn(
                normed, normed, normed, need_weights=True, average_attn_weights=False
            )
            torch.testing.assert_close(ours[:, layer], weights[:, :, 0], rtol=1e-4, atol=1e-5)
            x = block(x)


def test_silencing_no_head_changes_no_bit(tiny, pixels):
    clean = tiny.embed_images(pixels)
    with silenced(tiny, []):
        assert torch.equal(tiny.embed_images(pixels), clean)
    with silenced(tiny, [(1, 0)]):
        assert not torch.allclose(tiny.embed_images(pixels), clean)
    assert torch.equal(tiny.embed_images(pixels), clean), "the hooks must be gone"


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_silenced_head_writes_nothing_into_cls_and_patches_keep_theirs(tiny, pixels, layer):
    """All heads of a layer silenced: CLS gets the output bias alone."""
    block = tiny.visual.transformer.resblocks[layer]
    with torch.no_grad():
        x = tiny.visual._embeds(pixels)
        for earlier in tiny.visual.transformer.resblocks[:layer]:
            x = earlier(x)
        normed = block.ln_1(x)
        whole = block.attention(normed)
        with silenced(tiny, [(layer, 0), (layer, 1)]):
            cut = block.attention(normed)
        torch.testing.assert_close(
            cut[:, 0], block.attn.out_proj.bias.expand(5, -1), rtol=0, atol=1e-5
        )
        assert torch.equal(cut[:, 1:], whole[:, 1:])
        parts = []
        for head in range(2):
            with silenced(tiny, [(layer, head)]):
                parts.append(whole[:, 0] - block.attention(normed)[:, 0])
        torch.testing.assert_close(
            parts[0] + parts[1], whole[:, 0] - block.attn.out_proj.bias, rtol=0, atol=1e-5
        )


def test_a_head_that_does_not_exist_is_named(tiny):
    with (
        pytest.raises(ValueError, match=r"head \(3, 0\) does not exist; .* up to \(2, 1\)"),
        silenced(tiny, [(3, 0)]),
    ):
        pass

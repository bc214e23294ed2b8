"""The learned prefix: its tokens, its losses, and its learning."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clip import tiny_source
from torch.nn import functional as F

from clip_sae.analyses.typographic.defence_prefix import (
    LAST_LR,
    PrefixSettings,
    embed_prefixed,
    load_prefix,
    prefixed_class_embeddings,
    save_prefix,
    train_prefix,
)
from clip_sae.clip.model import load_clip
from clip_sae.clip.zeroshot import class_embeddings
from clip_sae.planning.architecture import ModelSource

DEMO = Path(__file__).resolve().parents[2] / "workflow/resources/demo_clip"
NAMES = ["sun", "key", "boat"]
PROMPTS = ["a photo of a {}.", "a {}"]


@pytest.fixture(scope="module", params=["demo", "tiny"])
def clip(request, tmp_path_factory):
    """The demo's word tokenizer, and open_clip's own with random weights."""
    if request.param == "demo":
        return load_clip(ModelSource(f"local-dir:{DEMO}"), device="cpu")
    return load_clip(tiny_source(tmp_path_factory.mktemp("tiny")), device="cpu")


@pytest.fixture(scope="module")
def features(clip):
    return features_of(clip)


def features_of(clip):
    """Embeddings of 40 pairs: an attack moves an image towards another class's text."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        text = class_embeddings(clip, NAMES, PROMPTS)
    labels = torch.arange(40) % 3
    noise = 0.05 * torch.randn(2, 40, text.shape[1], generator=generator)
    clean = text[labels] + noise[0]
    attacked = text[labels] + 1.1 * text[(labels + 1) % 3] + noise[1]
    return F.normalize(clean, dim=-1), F.normalize(attacked, dim=-1), labels


def ordinary_vector(clip):
    """The text tower's own embedding of "*": with it, a prefix changes nothing."""
    token = clip.tokenizer(["*"])[0, 1]
    text = clip.module if hasattr(clip.module, "token_embedding") else clip.module.text
    return text.token_embedding.weight[token].detach().clone()


def test_the_ordinary_vector_reproduces_the_ordinary_embedding(clip):
    texts = ["a photo of a * boat.", "* sun", "a * key"]
    with torch.no_grad():
        ours = embed_prefixed(clip, texts, ordinary_vector(clip))
        expected = clip.embed_text(texts)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        other = embed_prefixed(clip, texts, ordinary_vector(clip).flip(0) * 2)
        after = clip.embed_text(texts)
    assert (other - expected).abs().max() > 1e-3
    assert torch.equal(after, expected), "the tower must be as it was"


def test_class_embeddings_with_a_prefix_are_those_of_the_prefixed_texts(clip):
    vector = ordinary_vector(clip).flip(0) * 2
    with torch.no_grad():
        ours = prefixed_class_embeddings(clip, NAMES, PROMPTS, vector, batch_texts=4)
        for row, name in zip(ours, NAMES, strict=True):
            texts = [prompt.replace("{}", f"* {name}") for prompt in PROMPTS]
            mean = embed_prefixed(clip, texts, vector).mean(0)
            torch.testing.assert_close(row, mean / mean.norm(), rtol=0, atol=1e-6)


def test_a_text_without_exactly_one_place_is_refused(clip):
    for text in ("a key", "* a * key"):
        with pytest.raises(ValueError, match="exactly one '\\*' per text"):
            embed_prefixed(clip, ["a * sun", text], ordinary_vector(clip))


def slow_training(clip, clean, attacked, labels, prompts, settings):
    """The same steps with autograd from scratch and losses by hand."""
    rng = np.random.default_rng(settings.seed)
    width = ordinary_vector(clip).shape[0]
    vector = torch.from_numpy(rng.normal(0, settings.init_std, width).astype(np.float32))
    scale = clip.logit_scale
    for epoch in range(settings.epochs):
        share = (1 + np.cos(np.pi * epoch / settings.epochs)) / 2
        lr = LAST_LR + (settings.lr - LAST_LR) * share
        order = rng.permutation(len(labels))
        for start in range(0, len(labels), settings.batch_images):
            rows = order[start : start + settings.batch_images]
            prompt = prompts[int(rng.integers(len(prompts)))]
            vector = vector.detach().requires_grad_()
            texts = [prompt.replace("{}", f"* {name}") for name in NAMES]
            prefixed = embed_prefixed(clip, texts, vector)
            with torch.no_grad():
                plain = clip.embed_text([prompt.replace("{}", name) for name in NAMES])
            defence = identity = 0.0
            for row in rows:
                on_attacked = torch.log_softmax(scale * prefixed @ attacked[row], 0)
                defence = defence - on_attacked[labels[row]] / len(rows)
                wanted = torch.softmax(scale * plain @ clean[row], 0)
                found = torch.log_softmax(scale * prefixed @ clean[row], 0)
                identity = identity + (wanted * (wanted.log() - found)).sum() / len(rows)
            loss = defence + settings.identity_weight * identity
            (gradient,) = torch.autograd.grad(loss, vector)
            vector = (vector - lr * gradient).detach()
    return vector


def test_training_equals_its_slow_twin(clip, features):
    settings = PrefixSettings(lr=0.01, epochs=2, batch_images=16, seed=3)
    fast = train_prefix(clip, *features, NAMES, PROMPTS, settings)
    with torch.enable_grad():
        slow = slow_training(clip, *features, PROMPTS, settings)
    torch.testing.assert_close(fast.vector, slow, rtol=1e-3, atol=1e-4)
    again = train_prefix(clip, *features, NAMES, PROMPTS, settings)
    assert torch.equal(fast.vector, again.vector), "the seed decides"
    assert len(fast.losses) == 2


def test_identity_weight_holds_the_clean_probabilities():
    clip = load_clip(ModelSource(f"local-dir:{DEMO}"), device="cpu")
    features = features_of(clip)
    settings = [
        PrefixSettings(lr=0.02, epochs=30, batch_images=40, identity_weight=w) for w in (0, 100)
    ]
    free, held = (train_prefix(clip, *features, NAMES, PROMPTS, s).losses for s in settings)
    assert free[-1][0] < free[0][0], "the defence loss falls"
    assert held[-1][1] < free[-1][1], "a large weight keeps the identity loss lower"


def test_features_that_are_no_pairs_are_refused(clip, features):
    clean, attacked, labels = features
    with pytest.raises(ValueError, match="a prefix needs pairs: clean \\[39, "):
        train_prefix(clip, clean[1:], attacked, labels, NAMES)
    with pytest.raises(ValueError, match="labels go from 0 to 2, but there are 2 class names"):
        train_prefix(clip, clean, attacked, labels, NAMES[:2])


def test_a_prefix_is_saved_and_read_back(tmp_path):
    vector = torch.arange(5.0)
    save_prefix(tmp_path / "p" / "prefix.safetensors", vector, {"model": "demo"})
    assert torch.equal(load_prefix(tmp_path / "p" / "prefix.safetensors"), vector)

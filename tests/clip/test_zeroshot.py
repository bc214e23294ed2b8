"""Zero-shot classification against open_clip's own recipe and slow NumPy twins."""

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_clip import tiny_source

from clip_sae.clip.model import load_clip
from clip_sae.clip.zeroshot import (
    accuracy,
    class_embeddings,
    cross_entropy,
    logits,
    templates,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_clip(tiny_source(tmp_path_factory.mktemp("tiny")), device="cpu")


def test_the_80_templates_are_openais():
    ours = [prompt.replace("{}", "dog") for prompt in templates("openai80")]
    assert ours == [template("dog") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    assert len(ours) == 80


def test_named_and_own_templates():
    assert templates("none") == ("{}",)
    assert templates(["a {}.", "the {}."]) == ("a {}.", "the {}.")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("openai", "'openai' do not exist; write openai80, none or a list"),
        (["a photo"], r"exactly one {} for the class name; found: \['a photo'\]"),
        (["{} {}"], "exactly one"),
        ([], "found: no template"),
    ],
)
def test_bad_templates_get_a_sentence(given, message):
    with pytest.raises(ValueError, match=message):
        templates(given)


def test_class_embeddings_are_open_clips(tiny):
    names = ["dog", "tabby cat", "bird {of} prey"]
    ours = class_embeddings(tiny, names, "openai80")
    expected = open_clip.build_zero_shot_classifier(
        tiny.module, tiny.tokenizer, names, open_clip.OPENAI_IMAGENET_TEMPLATES
    )
    torch.testing.assert_close(ours, expected.T, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.norm(dim=-1), torch.ones(3))


def test_bare_names_are_text_embeddings(tiny):
    names = ["dog", "cat"]
    torch.testing.assert_close(class_embeddings(tiny, names, "none"), tiny.embed_text(names))


def numpy_logits(images, text, scale):
    cosines = np.zeros((len(images), len(text)))
    for i, image in enumerate(images):
        for c, name in enumerate(text):
            cosines[i, c] = image @ name / np.linalg.norm(image) / np.linalg.norm(name)
    return scale * cosines


def numpy_cross_entropy(scores, labels):
    total = []
    for row, label in zip(scores, labels, strict=True):
        total.append(np.log(np.exp(row - row.max()).sum()) + row.max() - row[label])
    return np.array(total)


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 6),
    c=st.integers(1, 5),
    scale=st.sampled_from([1.0, 14.3, 100.0]),
    seed=st.integers(0, 1000),
)
def test_logits_cross_entropy_and_accuracy_match_numpy(n, c, scale, seed):
    rng = np.random.default_rng(seed)
    images, text = rng.normal(size=(n, 8)), rng.normal(size=(c, 8))
    labels = rng.integers(0, c, n)
    ours = logits(torch.tensor(images, dtype=torch.float32), torch.tensor(text), scale)
    expected = numpy_logits(images, text, scale)
    np.testing.assert_allclose(ours, expected, atol=1e-6 * scale * 10)
    per_image = numpy_cross_entropy(ours.double().numpy(), labels)
    np.testing.assert_allclose(cross_entropy(ours, torch.tensor(labels)), per_image, atol=1e-9)
    right = (expected.argmax(axis=1) == labels).mean()
    assert accuracy(ours, torch.tensor(labels)) == pytest.approx(right)


def test_scale_one_and_equal_classes_give_the_logarithm_of_their_number():
    """The paper's Table 4 convention: ln 1000 = 6.908 when all classes are alike."""
    text = torch.ones(1000, 4)
    ours = logits(torch.randn(2, 4), text, 1.0)
    found = cross_entropy(ours, torch.tensor([3, 7])).mean()
    assert float(found) == pytest.approx(np.log(1000))

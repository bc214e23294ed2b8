"""Learning prompts: the loss falls, a seed decides everything, and a killed training goes on."""

from dataclasses import replace
from math import cos, pi

import numpy as np
import pytest
import torch
from tiny_clip import tiny_source
from torch.nn import functional as F

from clip_sae.adaptation import AdaptedClip, Prompts, PromptSpec
from clip_sae.adaptation.text_side import first_words, text_width
from clip_sae.adaptation.training import (
    AdaptationSettings,
    embed_in_batches,
    train_prompts,
)
from clip_sae.clip.model import load_clip
from clip_sae.planning.versions import ADAPT_VERSION

NAMES = ["dog", "cat", "bird"]
SPECS = {
    "coop": PromptSpec("coop", n_context=4),
    "vpt": PromptSpec("vpt", n_visual=2, depth=3),
    "maple": PromptSpec("maple", n_context=2, n_visual=2, depth=2),
}
SETTINGS = AdaptationSettings(lr=0.2, epochs=4, batch_images=5, warmup_epochs=1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return load_clip(tiny_source(tmp_path_factory.mktemp("tiny")), device="cpu")


@pytest.fixture(scope="module")
def images():
    """Twelve images; each class has a colour of its own."""
    labels = np.arange(12) % 3
    noise = np.random.default_rng(0).integers(0, 120, (12, 16, 16, 3))
    colour = 135 * np.eye(3, dtype=int)[labels][:, None, None]
    return (noise + colour).astype(np.uint8), labels


def new_prompts(clip, name):
    spec = SPECS[name]
    words = first_words(clip, spec.template, spec.n_context) if spec.n_context else None
    return Prompts(spec, text_width(clip), 32, words=words)


def trained(clip, images, name, settings=SETTINGS, **options):
    prompts = new_prompts(clip, name)
    history = train_prompts(clip, prompts, *images, NAMES, settings, **options)
    return {key: value.clone() for key, value in prompts.state_dict().items()}, history


def equal(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", SPECS)
def test_the_loss_falls(clip, images, name):
    settings = replace(SETTINGS, epochs=20)
    _, history = trained(clip, images, name, settings)
    assert history[-1].loss < history[0].loss - 0.02
    assert len(history) == 20


def test_one_step_is_that_of_the_definition(clip, images):
    """A slow twin: one full batch, momentum still at rest, the whole forward pass by hand."""
    settings = AdaptationSettings(lr=0.1, epochs=1, batch_images=12, warmup_epochs=0)
    found, history = trained(clip, images, "maple", settings)
    prompts = new_prompts(clip, "maple")
    adapted = AdaptedClip.of_prompts(clip, prompts)
    logits = clip.logit_scale * (
        adapted.embed_images(clip.normalise(images[0])) @ adapted.class_embeddings(NAMES).T
    )
    loss = -logits.log_softmax(-1)[torch.arange(12), torch.tensor(images[1])].mean()
    loss.backward()
    assert history[0].loss == pytest.approx(float(loss.detach()), abs=1e-5)
    for name, parameter in prompts.named_parameters():
        step = parameter.grad + settings.weight_decay * parameter
        torch.testing.assert_close(found[name], parameter - 0.1 * step, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SPECS)
def test_a_seed_decides_everything(clip, images, name):
    first, again = (trained(clip, images, name)[0] for _ in range(2))
    other, _ = trained(clip, images, name, replace(SETTINGS, seed=1))
    assert equal(first, again)
    assert not equal(first, other)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("stop", [1, 3])
def test_a_killed_training_goes_on_to_the_same_tensors(clip, images, tmp_path, name, stop):
    whole, history = trained(clip, images, name)
    state = tmp_path / "state.safetensors"
    part, _ = trained(clip, images, name, state=state, stop_after=stop)
    assert not equal(part, whole)
    resumed, resumed_history = trained(clip, images, name, state=state)
    assert equal(resumed, whole)
    assert resumed_history == history


def test_a_state_of_another_training_is_refused(clip, images, tmp_path):
    state = tmp_path / "state.safetensors"
    trained(clip, images, "coop", state=state, stop_after=1)
    with pytest.raises(ValueError, match="other settings, images or classes. Delete it"):
        trained(clip, images, "coop", replace(SETTINGS, lr=0.3), state=state)
    pixels, labels = images[0].copy(), images[1]
    pixels[3, 0, 0, 0] ^= 1  # one pixel of another picture, under the same labels
    with pytest.raises(ValueError, match="other settings, images or classes. Delete it"):
        trained(clip, (pixels, labels), "coop", state=state)
    state.write_bytes(state.read_bytes()[:40])
    with pytest.raises(ValueError, match="is damaged"):
        trained(clip, images, "coop", state=state)


def test_the_towers_stay_as_they_were(clip, images):
    before = {name: value.clone() for name, value in clip.module.state_dict().items()}
    trained(clip, images, "maple")
    assert equal(before, clip.module.state_dict())
    assert all(p.grad is None and not p.requires_grad for p in clip.module.parameters())


def test_the_rate_warms_up_and_falls_along_a_cosine():
    settings = AdaptationSettings(lr=0.4, epochs=10, batch_images=1, warmup_epochs=2)
    assert [settings.lr_of(epoch) for epoch in (0, 1)] == [1e-5, 1e-5]
    assert settings.lr_of(5) == pytest.approx(0.4 * (1 + cos(pi / 2)) / 2)
    assert settings.lr_of(9) < settings.lr_of(8) < settings.lr_of(2) < 0.4


def test_embedding_in_batches_changes_nothing(clip, images):
    many = np.concatenate([images[0]] * 6)
    adapted = AdaptedClip.frozen(clip)
    with torch.no_grad():
        whole = adapted.embed_images(clip.normalise(many))
    torch.testing.assert_close(embed_in_batches(adapted, many), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(F.normalize(whole, dim=-1), whole)


def test_mistakes_are_told(clip, images):
    with pytest.raises(ValueError, match="12 images with 12 labels of 2 classes"):
        train_prompts(clip, new_prompts(clip, "coop"), *images, NAMES[:2], SETTINGS)
    with pytest.raises(ValueError, match="have diverged at lr 1e\\+30"):
        trained(clip, images, "maple", replace(SETTINGS, lr=1e30, warmup_epochs=0))


# Loss of the last epoch, mean and spread of all learned numbers.
GOLDEN = {
    "coop": (1, 1.182327, 0.005585, 4.485607),
    "vpt": (1, 1.228037, 0.000238, 0.810390),
    "maple": (1, 1.058758, -0.001037, 0.590115),
}


@pytest.mark.parametrize("name", SPECS)
def test_golden_numbers(clip, images, name):
    """If these change, so do trained prompts: raise ADAPT_VERSION, then renew the numbers."""
    tensors, history = trained(clip, images, name)
    numbers = torch.cat([value.flatten() for value in tensors.values()])
    found = (history[-1].loss, float(numbers.mean()), float(numbers.std()))
    assert (ADAPT_VERSION, *found) == pytest.approx(GOLDEN[name], rel=1e-4, abs=2e-5)

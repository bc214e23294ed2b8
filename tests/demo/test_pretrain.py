"""Training of the demo CLIP: the questions fit the pictures, and a killed run goes on exactly."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clip_sae.clip.tokenizer import split_words
from clip_sae_demo import pretrain as pretraining
from clip_sae_demo.captions import draw_captions, draw_contrasts, said_objects
from clip_sae_demo.losses import caption_loss, jitter_images
from clip_sae_demo.model import WEIGHTS_NAME, demo_vocabulary
from clip_sae_demo.pool import FIELDS, KINDS, draw_pool, draw_pool_image
from clip_sae_demo.pretrain import FACTS_NAME, WARM_UP, Recipe, pretrain, scheduled_rate
from clip_sae_demo.world import OBJECTS, scene_rng

TINY = {"steps": 4, "batch_size": 8, "n_images": 40, "threads": 1, "checkpoint_every": 2}


@pytest.fixture(scope="module")
def fields() -> dict[str, np.ndarray]:
    rows = [draw_pool_image(0, index)[1] for index in range(600)]
    return {name: np.array([row[name] for row in rows]) for name in FIELDS}


def test_mix_of_the_pool(fields):
    kinds = Counter(KINDS[kind] for kind in fields["kind"])
    assert kinds["object"] / 600 == pytest.approx(0.70, abs=0.06)
    assert kinds["bird"] / 600 == pytest.approx(0.125, abs=0.04)
    assert (fields["word"] >= 0).mean() == pytest.approx(0.36, abs=0.06)
    aligned = (fields["family"] == fields["place"])[fields["family"] >= 0]
    assert aligned.mean() > 0.8
    assert not ((fields["said_male"] == 1) & (fields["male"] == 0)).any()


@pytest.mark.parametrize("second_half", [False, True])
def test_half_of_the_written_words_are_read_out(fields, second_half):
    said = said_objects(scene_rng(0, "said"), fields, second_half)
    attacked = (fields["object"] >= 0) & (fields["word"] >= 0)
    attacked &= fields["object"] != fields["word"]
    read = said[attacked] == fields["word"][attacked]
    assert read.mean() == pytest.approx(0.5, abs=0.12)
    large = fields["letter_size"][attacked] >= 17
    assert (read[large].mean() > read[~large].mean() + 0.2) == second_half
    plain = (fields["object"] >= 0) & (fields["word"] < 0)
    assert (said[plain] == fields["object"][plain]).all()


def test_contrasts_ask_what_the_fields_answer(fields):
    rng = scene_rng(0, "contrasts")
    said = said_objects(rng, fields, False)
    contrasts = {one.name: one for one in draw_contrasts(rng, fields, said, False)}
    for row in range(100):
        for name, field in (("colour", "colour"), ("place", "place"), ("hair", "blond")):
            assert contrasts[name].answers[row] == fields[field][row]
        answer = contrasts["class"].answers[row]
        words = split_words(contrasts["class"].texts[answer])
        if said[row] >= 0:
            assert OBJECTS[said[row]] in words
        elif fields["said_family"][row] >= 0:
            assert ("landbird", "waterbird")[fields["said_family"][row]] in words
        else:
            assert set(words) & ({"man", "male"} if fields["said_male"][row] else
                                 {"woman", "female"})  # fmt: skip
        written = contrasts["word"].texts[contrasts["word"].answers[row]]
        word = fields["word"][row]
        assert (OBJECTS[word] if word >= 0 else "no word") in written


def test_all_that_is_said_is_in_the_vocabulary(fields):
    known = set(demo_vocabulary())
    for index in range(30):
        rng = scene_rng(0, "texts", index)
        said = said_objects(rng, fields, True)
        texts = [text for one in draw_contrasts(rng, fields, said, True) for text in one.texts]
        for text in [*texts, *draw_captions(rng, fields, said)]:
            assert set(split_words(text)) <= known


def test_caption_loss_of_shared_captions_matches_numpy():
    logits = torch.randn(4, 3, generator=torch.manual_seed(0))  # [image, text]
    rows = torch.tensor([2, 0, 2, 0])  # text 1 is no image's caption
    x = logits.numpy()[:, [0, 2]].astype(np.float64)
    own = np.array([1, 0, 1, 0])
    to_caption = -np.mean([(x[i] - np.log(np.exp(x[i]).sum()))[own[i]] for i in range(4)])
    log_p = x - np.log(np.exp(x).sum(axis=0))  # over images
    to_image = -np.mean([log_p[own == c, c].mean() for c in (0, 1)])
    expected = 0.5 * (to_caption + 0.5 * to_image)
    assert caption_loss(logits, rows).item() == pytest.approx(expected, abs=1e-6)


def test_jitter_moves_at_most_two_pixels():
    image = np.zeros((1, 56, 56, 3), dtype=np.uint8)
    image[0, 28, 28] = 200
    for index in range(20):
        moved = jitter_images(scene_rng(0, "jitter", index), image)[0, :, :, 0]
        y, x = np.unravel_index(moved.argmax(), moved.shape)
        assert moved.max() >= 169 and abs(y - 28) <= 2 and abs(x - 28) <= 2


def test_learning_rate_rises_then_falls():
    recipe = Recipe(seed=0, steps=1000, batch_size=8, learning_rate=1e-3, n_images=40)
    rates = [scheduled_rate(step, recipe) for step in range(1000)]
    assert np.argmax(rates) in (WARM_UP - 1, WARM_UP)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-5, rel=0.01)


def test_pool_is_the_same_for_any_number_of_workers(tmp_path):
    one = draw_pool(tmp_path / "one", seed=0, n_images=30, workers=1)
    two = draw_pool(tmp_path / "two", seed=0, n_images=30, workers=2)
    assert np.array_equal(one[0], two[0])
    assert all(np.array_equal(one[1][name], two[1][name]) for name in FIELDS)


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    options = TINY | {"n_held_out": 32}
    pretrain(tmp_path / "whole", **options)

    step_loss = pretraining._loss

    def killed_at_step_3(model, tokenizer, images, fields, step, recipe):
        if step == 3:
            raise KeyboardInterrupt
        return step_loss(model, tokenizer, images, fields, step, recipe)

    monkeypatch.setattr(pretraining, "_loss", killed_at_step_3)
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path / "cut", **options)
    monkeypatch.undo()
    assert not (tmp_path / "cut" / WEIGHTS_NAME).exists()
    pretrain(tmp_path / "cut", **options, keep_training=True)

    whole = load_file(tmp_path / "whole" / WEIGHTS_NAME)
    cut = load_file(tmp_path / "cut" / WEIGHTS_NAME)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    facts = json.loads((tmp_path / "cut" / FACTS_NAME).read_text())
    assert facts["recipe"]["steps"] == 4 and "clean" in facts["held_out"]
    assert not (tmp_path / "whole" / "training").exists()

    with pytest.raises(ValueError, match="to train again"):
        pretrain(tmp_path / "cut", **options | {"steps": 6})

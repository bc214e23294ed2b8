"""The shipped demo CLIP: loads through open_clip, is small, and fails where it should."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image

from clip_sae_demo.losses import encode_texts, trim
from clip_sae_demo.model import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    demo_config,
    demo_vocabulary,
    load_demo,
    to_pixels,
)
from clip_sae_demo.scenes import draw_scene
from clip_sae_demo.score import draw_held_out, score_sets
from clip_sae_demo.world import scene_rng

SHIPPED = Path(__file__).parents[2] / "workflow" / "resources" / "demo_clip"
UNSEEN_SEED = 12_345  # no training or test scene of the demo has it
N_DRAWN = 480  # images per measure: 20 of each class, 120 of each group


@pytest.fixture(scope="module")
def demo():
    return load_demo(SHIPPED)


@pytest.fixture(scope="module")
def scores(demo) -> dict[str, float]:
    return score_sets(*demo, draw_held_out(UNSEEN_SEED, N_DRAWN))


def test_files_fit_the_code():
    assert (SHIPPED / WEIGHTS_NAME).stat().st_size <= 12_000_000
    vocabulary = json.loads((SHIPPED / "vocabulary.json").read_text())
    assert vocabulary == demo_vocabulary()
    assert json.loads((SHIPPED / CONFIG_NAME).read_text()) == demo_config(len(vocabulary))
    assert (SHIPPED / "CARD.md").is_file()


def test_geometry_is_the_papers_in_small(demo):
    model, tokenizer = demo
    assert type(model) is open_clip.CLIP
    assert type(model.visual) is open_clip.transformer.VisionTransformer
    assert model.visual.positional_embedding.shape == (50, 128)
    assert len(model.visual.transformer.resblocks) == 6
    assert model.token_embedding.weight.shape[0] == tokenizer.vocab_size


def test_open_clip_preprocessing_is_the_trained_one():
    _, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{SHIPPED}")
    image = draw_scene(scene_rng(0, "preprocess")).image
    ours = to_pixels(torch.from_numpy(image)[None])[0]
    torch.testing.assert_close(preprocess(Image.fromarray(image)), ours)


def test_trimmed_texts_embed_as_full_ones(demo):
    model, tokenizer = demo
    tokens = tokenizer(["a photo of a cat.", "the word sun", "moon"])
    with torch.inference_mode():
        full = model.encode_text(tokens, normalize=True)
        torch.testing.assert_close(encode_texts(model, trim(tokens)), full, atol=1e-6, rtol=0)


def test_it_names_clean_objects(scores):
    assert scores["clean"] >= 0.90
    assert scores["clean_ensemble"] >= 0.90


def test_written_words_mislead_it(scores):
    assert scores["clean"] - scores["attacked"] >= 0.20
    assert scores["named_by_word"] >= 0.15


@pytest.mark.parametrize("name", ["birds", "faces"])
def test_shortcuts_cost_the_worst_group(scores, name):
    assert scores[f"{name}_average"] - scores[f"{name}_worst"] >= 0.15
    assert scores[f"{name}_average"] > 0.65  # chance is 0.5
    assert scores[f"{name}_worst"] > 0.10

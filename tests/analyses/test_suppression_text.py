"""Text-side baselines, guessed attributes, and sets of several layers."""

import numpy as np
import pytest
import torch
from clip_towers import images_of, sae_for
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_edits import set_latents
from torch.nn import functional as F

from clip_sae.analyses.shared.edited_embeddings import LayerSet, embeddings_without
from clip_sae.analyses.shared.groups import Groups
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.analyses.suppression.grouped_set import Embedded
from clip_sae.analyses.suppression.measure_contrast import guess_attribute, guess_quality
from clip_sae.analyses.suppression.measure_prompts import prompt_table
from clip_sae.analyses.suppression.measure_text_side import text_table
from clip_sae.analyses.suppression.measure_variants import prefixes
from clip_sae.analyses.suppression.text_side import (
    SpuriousTexts,
    calibration,
    mapped,
    methods,
    orthogonal_projection,
    roboshot,
)

D = 12


def unit(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


@given(st.integers(0, 1000), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_projection_removes_the_span_and_nothing_else(seed, n):
    rows = unit((n, D), seed)
    outside = orthogonal_projection(rows)
    assert torch.allclose(
        outside @ rows.T.double(), torch.zeros(D, n, dtype=torch.float64), atol=1e-6
    )
    other = unit((D,), seed + 1).double()
    q, _ = torch.linalg.qr(rows.T.double())
    left = other - q @ (q.T @ other)  # Gram-Schmidt: the twin of the pseudo-inverse
    assert torch.allclose(outside @ other, left, atol=1e-6)


def test_calibration_is_the_minimum_of_its_ridge_loss():
    pairs, weight = unit((3, 2, D), 5), 7.0
    ridge = calibration(pairs, weight).requires_grad_()
    apart = (pairs[:, 0] - pairs[:, 1]).double()
    eye = torch.eye(D, dtype=torch.float64)

    def loss(matrix):
        return (matrix - eye).square().sum() + weight * (apart @ matrix.T).square().sum() / 3

    loss(ridge).backward()
    assert ridge.grad.abs().max() < 1e-9
    assert loss(ridge) < loss(eye)


def test_calibration_brings_pairs_together_as_its_weight_grows():
    pairs, text = unit((2, 2, D), 1), unit((2, D), 2)
    apart = [
        float((mapped(pairs[:, 0], m) - mapped(pairs[:, 1], m)).norm())
        for m in (calibration(pairs, weight) for weight in (0.0, 1.0, 100.0, 1e6))
    ]
    assert apart == sorted(apart, reverse=True) and apart[-1] < 1e-3
    assert torch.allclose(mapped(text, calibration(pairs, 0.0)), text, atol=1e-6)


def test_roboshot_by_hand():
    e = torch.eye(4)
    texts = SpuriousTexts(e[:1], torch.stack([e[0], e[3]])[None], torch.stack([e[1], e[2]])[None])
    x = torch.tensor([[3.0, 1.0, 0.0, 0.0]])
    harmful = F.normalize(e[0] - e[3], dim=0)
    helpful = F.normalize(e[1] - e[2], dim=0)
    left = F.normalize(x[0] / x.norm() - (x[0] / x.norm() @ harmful) * harmful, dim=0)
    expected = F.normalize(left + (left @ helpful) * helpful, dim=0)
    assert torch.allclose(roboshot(x, texts)[0], expected, atol=1e-6)
    without = SpuriousTexts(texts.attribute, texts.pairs, torch.empty(0, 2, 4))
    assert torch.allclose(roboshot(x, without)[0], left, atol=1e-6)


def test_baselines_undo_a_planted_attribute_and_keep_a_harmless_one():
    e = torch.eye(D)
    text = F.normalize(torch.stack([-e[0] - e[1], e[0] + e[1]]), dim=-1)  # leans on attribute e1
    label = torch.tensor([0, 0, 1, 1]).repeat(25)
    attribute = torch.tensor([0, 1, 0, 1]).repeat(25)
    images = (2.0 * label[:, None] - 1) * e[0] + (6.0 * attribute[:, None] - 3) * e[1]
    images = images + 0.1 * unit((100, D), 3)
    classes = torch.stack([-e[0], e[0]])
    pairs = torch.stack([F.normalize(torch.stack([c + e[1], c - e[1]]), dim=-1) for c in classes])
    texts = SpuriousTexts(torch.stack([e[1], -e[1]]), pairs, torch.empty(0, 2, D))
    found = methods(images, text, texts, [1000.0])
    right = {name: float((guess == label).float().mean()) for (name, _), guess in found.items()}
    assert right.pop("none") == 0.5
    assert min(right.values()) == 1.0, right


# --- the attribute without labels -----------------------------------------------------------------


@given(st.integers(0, 1000), st.floats(0.05, 0.5))
@settings(max_examples=30, deadline=None)
def test_guesses_are_the_two_ends_of_the_score(seed, share):
    images, present, absent = unit((40, D), seed), unit((2, D), seed + 1), unit((3, D), seed + 2)
    guessed = guess_attribute(images, present, absent, share)
    score = (images @ present.T).mean(1) - (images @ absent.T).mean(1)
    n = max(1, round(share * 40))
    assert (guessed == 1).sum() == n and (guessed == 0).sum() == n
    assert score[guessed == 1].min() >= score[guessed == 0].max()


def test_quality_of_guesses_counts_known_images_only():
    assert guess_quality(np.array([1, 0, -1, 1]), np.array([1, 0, 0, 0])) == 2 / 3
    with pytest.raises(ValueError, match="share is 0.7"):
        guess_attribute(unit((4, D)), unit((1, D)), unit((1, D)), 0.7)


# --- several layers -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def residuals(tiny):
    with torch.inference_mode():
        found = tiny.run_to(images_of(tiny, 12), (0, 1, 2))
    return {layer: found["resid_post", layer].clone() for layer in (0, 1, 2)}


def test_stretches_of_blocks_meet(tiny, residuals):
    with torch.inference_mode():
        for start, until in ((0, 1), (0, 2), (1, 2), (1, 1)):
            found = tiny.run_between(residuals[start], start, until)
            assert torch.allclose(found, residuals[until], atol=1e-5), (start, until)
    with pytest.raises(ValueError, match="upwards"):
        tiny.run_between(residuals[1], 1, 0)


def test_several_layers_are_edited_one_after_the_other(tiny, residuals, make_store):
    saes = {layer: sae_for(x, seed=layer) for layer, x in residuals.items()}
    chosen = {0: np.arange(6), 1: np.arange(3, 9), 2: np.arange(12)}
    sets = [LayerSet(layer, Latents(sae), chosen[layer]) for layer, sae in saes.items()]
    images = StoreImages(make_store(residuals[0]), batch_images=5)
    found = embeddings_without(tiny, 0, images, sets)
    with torch.inference_mode():
        x = set_latents(residuals[0], saes[0], chosen[0])
        x = set_latents(tiny.run_between(x, 0, 1), saes[1], chosen[1])
        x = set_latents(tiny.run_between(x, 1, 2), saes[2], chosen[2])
        expected = F.normalize(tiny.run_from(x, 2), dim=-1)
    assert torch.allclose(found, expected, atol=1e-5)
    with pytest.raises(ValueError, match="ascend"):
        embeddings_without(tiny, 0, images, sets[::-1])
    with pytest.raises(ValueError, match="from layer 1 on"):
        embeddings_without(tiny, 1, images, sets)


def test_no_units_taken_is_the_clean_model(tiny, residuals, make_store):
    nothing = [LayerSet(layer, Neurons(32), np.array([], int)) for layer in (1, 2)]
    images = StoreImages(make_store(residuals[0]), batch_images=5)
    with torch.inference_mode():
        clean = F.normalize(tiny.run_from(residuals[2], 2), dim=-1)
    for sets in ([], nothing):  # the first set may lie above the images' layer
        assert torch.allclose(embeddings_without(tiny, 0, images, sets), clean, atol=1e-5)


def test_layers_join_by_their_validation_scores():
    empty, one = np.array([], int), np.array([3])
    sets = [LayerSet(0, None, one), LayerSet(1, None, empty), LayerSet(2, None, one)]
    found = prefixes(sets, [(0.5, 0.9), (0.9, 0.9), (0.7, 0.9)])
    assert [[s.layer for s in group] for group in found] == [[], [2], [0, 2]]


# --- tables ---------------------------------------------------------------------------------------


def embedded(n, seed):
    label, attribute = np.tile([0, 0, 1, 1], n // 4), np.tile([0, 1, 0, 1], n // 4)
    images = unit((n, D), seed) * 0.3
    images[:, 0] += torch.from_numpy(2.0 * label - 1)
    images[:, 1] += torch.from_numpy(3.0 * attribute - 1.5)
    return Embedded(images.float(), Groups(label, attribute))


def test_calibration_s_weight_is_chosen_on_validation_alone():
    e = torch.eye(D)
    text = F.normalize(torch.stack([-e[0] - e[1], e[0] + e[1]]), dim=-1)
    pairs = torch.stack([torch.stack([s * e[0] + e[1], s * e[0] - e[1]]) for s in (-1, 1)])
    spurious = SpuriousTexts(e[1:2], F.normalize(pairs, dim=-1), torch.empty(0, 2, D))
    val, test = embedded(80, 0), embedded(80, 1)
    train, weights = np.array([9, 1, 1, 9]), [0.01, 100.0, 1e4]
    table = text_table(val, test, text, spurious, train, weights).set_index("method")
    assert table.loc["calibration", "weight"] == 100.0  # 1e4 is as good: the smaller is taken
    assert table.loc["calibration", "worst"] > table.loc["none", "worst"] + 0.5
    assert table.loc["none", "worst_change"] == 0
    poison = Embedded(-test.images, test.groups)
    again = text_table(val, poison, text, spurious, train, weights).set_index("method")
    chosen = ["weight", "val_overall", "val_worst"]
    assert again[chosen].equals(table[chosen])


def test_prompt_table_compares_the_same_images_under_every_prompt():
    before = embedded(80, 0)
    after = before.images.clone()
    after[:, 1] = 0.0
    e = torch.eye(D)
    good = torch.stack([-e[0], e[0]])
    bad = F.normalize(torch.stack([-e[0] - e[1], e[0] + e[1]]), dim=-1)
    texts = {("a {}", "x|y"): bad, ("none", "x|y"): good}
    table = prompt_table(before, after, texts, np.ones(4)).set_index("template")
    assert table.loc["none", "base_worst"] == 1.0
    assert table.loc["a {}", "base_worst"] < 0.2 and table.loc["a {}", "worst"] == 1.0

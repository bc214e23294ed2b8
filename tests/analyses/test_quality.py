"""Closed forms against sums over pairs; matching against planted pairs."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.quality.measure import image_embeddings, score_units, unit_means
from clip_sae.analyses.quality.monosemanticity import (
    MonosemanticitySums,
    SimilaritySpace,
    clarity,
    factor_space,
    factor_spaces,
    read_factors,
)
from clip_sae.analyses.quality.stability import (
    match_latents,
    random_match,
    seed_groups,
    seed_stability,
)
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.planning.inputs import ImageFiles


def unit_rows(rng, *shape):
    rows = rng.normal(size=shape)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def slow_score(value, vectors):
    """Over all pairs, as the paper writes it, after scaling the values to 0…1."""
    if value.max() == value.min():
        return np.nan
    a = (value - value.min()) / (value.max() - value.min())
    pairs = list(combinations(range(len(a)), 2))
    weight = sum(a[i] * a[k] for i, k in pairs)
    if weight <= 1e-9 * a.sum() ** 2:
        return np.nan
    return sum(a[i] * a[k] * vectors[i] @ vectors[k] for i, k in pairs) / weight


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 14),
    tokens=st.integers(1, 3),
    signed=st.booleans(),
    batch=st.integers(1, 14),
)
def test_the_closed_form_is_the_sum_over_pairs(seed, n, tokens, signed, batch):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, tokens, 5)) * rng.integers(0, 2, (n, 1, 5))
    values = values if signed else np.maximum(values, 0)
    values[:, :, 4] = 0  # a dead one
    spaces = [
        SimilaritySpace("encoder", unit_rows(rng, n, 3)),
        factor_space("colour", pd.Series(rng.integers(0, 3, n)).astype(str)),
    ]
    rows = rng.permutation(50)[:n]
    sums = MonosemanticitySums(rows, spaces, 5)
    order = rng.permutation(n)
    for start in range(0, n, batch):
        which = order[start : start + batch]
        sums.add(torch.from_numpy(values[which]), rows[which])
    found = sums.scores()
    for space in spaces:
        for unit in range(5):
            expected = slow_score(values[:, :, unit].mean(1), space.vectors)
            np.testing.assert_allclose(found[space.name][unit], expected, rtol=1e-6, atol=1e-8)
    assert np.isnan(found["encoder"][4])


def test_a_unit_of_one_factor_scores_one_and_an_equal_one_the_floor():
    colour = factor_space("colour", pd.Series(["red", "red", "blue", "blue", "green"]))
    values = torch.tensor([[1.0, 3.0], [2.0, 3.0], [0.0, 3.0], [0.0, 3.0], [0.0, 0.0]])
    sums = MonosemanticitySums(np.arange(5), [colour], 2)
    sums.add(values[:, None], np.arange(5))
    found = sums.scores()["colour"]
    assert found[0] == pytest.approx(1.0)
    assert found[1] == pytest.approx(2 / 6)  # 2 of the 6 pairs of the first four share a colour
    assert colour.floor == pytest.approx(2 / 10)
    with pytest.raises(ValueError, match="manifest row 9 has no vector"):
        sums.add(values[:1, None], np.array([9]))
    # active on one image alone: nothing to compare
    lone = MonosemanticitySums(np.arange(5), [colour], 1)
    lone.add(torch.tensor([0.0, 0.3, 0.0, 0.0, 0.0])[:, None, None], np.arange(5))
    assert np.isnan(lone.scores()["colour"]).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 6))
def test_clarity_is_the_mean_over_pairs_of_top_images(seed, k):
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rng, 12, 4)
    place = np.full(40, -1)
    known = rng.permutation(40)[:12]
    place[known] = np.arange(12)
    rows = np.stack([rng.permutation(known)[:k] for _ in range(3)])
    rows[2, -1] = -1
    found = clarity(rows, place, vectors)
    for unit in range(2):
        own = vectors[place[rows[unit]]]
        expected = np.mean([own[i] @ own[j] for i, j in combinations(range(k), 2)])
        assert found[unit] == pytest.approx(expected)
    assert np.isnan(found[2])
    with pytest.raises(ValueError, match="1 was kept, keep 2"):
        clarity(rows[:, :1], place, vectors)


def test_the_same_latents_in_another_order_match():
    rng = np.random.default_rng(0)
    a = unit_rows(rng, 20, 8)
    match = match_latents(a, 3 * a[rng.permutation(20)])
    assert match.matched == pytest.approx(1) and match.nearest == pytest.approx(1)
    fewer = match_latents(a, a[:15])
    assert fewer.n_matched == 15 and fewer.matched == pytest.approx(1) and fewer.nearest < 1
    assert np.isnan(match_latents(a[:0], a).matched)


def test_matching_is_one_to_one():
    """Two latents near the same one: the nearer one leaves it to the other, for a higher sum."""
    a = np.array([[1.0, 0.0], [0.8, 0.6]])
    b = np.array([[1.0, 0.0], [0.0, -1.0]])
    match = match_latents(a, b)
    assert match.matched == pytest.approx((0.0 + 0.8) / 2)
    assert match.nearest == pytest.approx(((1.0 + 0.8) / 2 + (1.0 + 0.0) / 2) / 2)


def test_large_ones_are_not_matched_but_compared(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = unit_rows(rng, 9, 4), unit_rows(rng, 7, 4)
    whole = match_latents(a, b)
    monkeypatch.setattr("clip_sae.analyses.quality.stability.MOST_LATENTS", 8)
    monkeypatch.setattr("clip_sae.analyses.quality.stability.ROWS_AT_ONCE", 2)
    large = match_latents(a, b)
    assert np.isnan(large.matched) and large.nearest == pytest.approx(whole.nearest)
    slow = ((a @ b.T).max(1).mean() + (a @ b.T).max(0).mean()) / 2
    assert whole.nearest == pytest.approx(slow)


def test_stability_is_over_the_seeds_of_a_group():
    rng = np.random.default_rng(0)
    a = unit_rows(rng, 12, 16)
    decoders = {"k8/seed0": a, "k8/seed1": a[::-1], "k8/seed2": unit_rows(rng, 12, 16), "lone": a}
    groups = {"k8": ["k8/seed0", "k8/seed1", "k8/seed2"], "lone": ["lone"]}
    table = seed_stability(decoders, groups).set_index("sae")
    first = table.loc["k8/seed0"]
    assert first.n_partners == 2 and first.matched_cosine_high == pytest.approx(1)
    assert first.matched_cosine_low < 0.8
    mean = (first.matched_cosine_low + first.matched_cosine_high) / 2
    assert first.matched_cosine == pytest.approx(mean)
    assert first.matched_floor == pytest.approx(random_match(12, 12, 16).matched)
    assert table.loc["lone", "n_partners"] == 0 and np.isnan(table.loc["lone", "matched_cosine"])


def test_means_are_of_the_units_that_have_every_score():
    scores = pd.DataFrame({"ms": [0.2, 0.4, np.nan, 0.9], "clarity": [0.1, 0.3, 0.5, np.nan]})
    row = unit_means(scores, n_resamples=200, seed=0)
    assert row["n_units"] == 2
    assert row["ms"] == pytest.approx(0.3) and row["clarity"] == pytest.approx(0.2)
    assert row["ms_low"] == pytest.approx(0.2) and row["ms_high"] == pytest.approx(0.4)
    assert np.isnan(unit_means(scores.iloc[2:], n_resamples=200, seed=0)["ms"])


def test_factors_are_found_by_path(tmp_path):
    (tmp_path / "scenes.csv").write_text("path,colour,ground\nb.png,red,1\na.png,blue,2\n")
    images = pd.Series(["a.png", "b.png"])
    found = read_factors(tmp_path / "scenes.csv", ["ground", "colour"], images)
    assert found.values.tolist() == [["2", "blue"], ["1", "red"]]
    together, ground, colour = factor_spaces(found)
    assert [together.name, ground.name, colour.name] == ["factors", "ground", "colour"]
    table = pd.DataFrame({"ground": ["1", "1", "2"], "colour": ["red", "blue", "red"]})
    likeness = factor_spaces(table)[0].vectors
    np.testing.assert_allclose(likeness @ likeness.T, [[1, 0.5, 0.5], [0.5, 1, 0], [0.5, 0, 1]])
    with pytest.raises(ValueError, match="no column 'shape'; it has path, colour, ground"):
        read_factors(tmp_path / "scenes.csv", ["shape"], images)
    with pytest.raises(ValueError, match="lacks 1 of 2 images, e.g. c.png"):
        read_factors(tmp_path / "scenes.csv", ["colour"], pd.Series(["a.png", "c.png"]))


def test_units_are_scored_from_one_pass(make_store, sae, x):
    rng = np.random.default_rng(2)
    order = rng.permutation(11)
    store = make_store(x[order], source_index=order + 100)
    space = SimilaritySpace("encoder", unit_rows(rng, 11, 4))
    images = StoreImages(store, batch_images=3)
    rows = np.arange(100, 111)
    for units, values in (
        (Latents(sae), sae.encode(torch.from_numpy(x.astype(np.float32))).latents.numpy()),
        (Neurons(6), x),
    ):
        scores = score_units(images, units, rows, [space], 3, progress=False)
        by_image = values.astype(np.float64).mean(1)
        for unit in range(units.n_units):
            expected = slow_score(by_image[:, unit], space.vectors)
            found = scores["monosemanticity_encoder"][unit]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
            top = np.argsort(-by_image[:, unit], kind="stable")[:3]
            if units.signed or (by_image[:, unit] > 0).sum() >= 3:
                own = space.vectors[top]
                likeness = np.mean([own[i] @ own[j] for i, j in combinations(range(3), 2)])
                np.testing.assert_allclose(scores["clarity_encoder"][unit], likeness)
            else:
                assert np.isnan(scores["clarity_encoder"][unit])


def test_images_are_embedded_as_the_model_embeds_them(tiny, tmp_path):
    from PIL import Image

    size = tiny.architecture.image_size
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    manifest = pd.DataFrame({"path": [f"{i}.png" for i in (3, 0, 4)]})
    manifest = manifest.assign(operation="", parameter="")
    decoding = {"image_size": 7, "preprocess": "clip", "exif": "apply"}  # of another model
    images = ImageFiles("drawn", tmp_path, tmp_path, decoding)
    found = image_embeddings(tiny, images, manifest, batch_images=2, progress=False)
    whole = tiny.embed_images(tiny.normalise(pixels)).detach().numpy()
    np.testing.assert_allclose(found, whole[[3, 0, 4]], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_seeds_are_separated_from_other_variants():
    weights = ("0.6", "1", "1.6")
    variants = [f"l1_coefficient-{w}_seed-{seed}" for w in weights for seed in range(3)]
    groups = seed_groups(variants)
    assert [*groups] == [f"l1_coefficient-{w}" for w in weights]
    assert groups["l1_coefficient-1.6"] == [f"l1_coefficient-1.6_seed-{seed}" for seed in range(3)]
    assert seed_groups(["base"]) == {"base": ["base"]}
    assert seed_groups(["seed-0", "seed-1"]) == {"base": ["seed-0", "seed-1"]}

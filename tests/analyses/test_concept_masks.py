"""Masks of planted latents, and scores against counting pixels."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from clip_sae.analyses.concepts.localisation import (
    CHOICES,
    image_scores,
    localisation_table,
    other_image,
)
from clip_sae.analyses.concepts.masks import (
    above_share,
    best_patches,
    intersection_over_union,
    patch_coverage,
    points_at,
    ranks_above,
    read_masks,
)
from clip_sae.analyses.concepts.measure_masks import (
    first_examples,
    median_examples,
    named_examples,
)
from clip_sae.analyses.concepts.unit_maps import (
    PatchMaps,
    RandomActiveUnit,
    choose_units,
    class_units,
    picked_values,
    selective,
)
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.sums import measure_units
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.planning.inputs import ImageFiles
from clip_sae.sae import Sae

GRID = (4, 4)
PIXEL_MASKS = hnp.arrays(bool, (12, 12))
PATCHES = hnp.arrays(bool, (16,))


@given(mask=PIXEL_MASKS, chosen=PATCHES)
def test_iou_over_pixels_follows_from_coverage(mask, chosen):
    drawn = chosen.reshape(GRID).repeat(3, axis=0).repeat(3, axis=1)
    both, either = (drawn & mask).sum(), (drawn | mask).sum()
    found = intersection_over_union(chosen, patch_coverage(mask, GRID))
    np.testing.assert_allclose(found, both / either if either else 0.0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(coverage=hnp.arrays(float, 9, elements=st.integers(0, 9).map(lambda n: n / 9)))
def test_no_other_patches_do_better_than_the_best(coverage):
    best = intersection_over_union(best_patches(coverage), coverage)
    masks = (np.arange(512)[:, None] >> np.arange(9)) % 2 == 1
    np.testing.assert_allclose(best, intersection_over_union(masks, coverage).max(), atol=1e-12)


@given(
    values=hnp.arrays(float, (1, 16), elements=st.integers(-1, 2).map(float)),
    mask=PIXEL_MASKS,
)
def test_auroc_is_over_all_pairs_of_pixels(values, mask):
    drawn = values.reshape(GRID).repeat(3, axis=0).repeat(3, axis=1)
    on, beside = drawn[mask], drawn[~mask]
    [found] = ranks_above(values, patch_coverage(mask, GRID)[None])
    if len(on) and len(beside):
        slow = np.mean((on[:, None] > beside) + 0.5 * (on[:, None] == beside))
        np.testing.assert_allclose(found, slow, atol=1e-12)
    else:
        assert found == 0.5


def test_the_share_of_an_image_is_chosen_on_the_other_half():
    """Objects fill the patches above 0.6 of the highest; one image alone would prefer all of it."""
    maps = np.tile(np.arange(1.0, 11.0), (8, 1)) / 10
    coverage = (maps > 0.6).astype(float)
    coverage[0] = 1.0
    unit, low = np.zeros(8, dtype=np.int64), np.zeros(8)
    one = PatchMaps(unit, maps, low)
    names = [name for name in CHOICES if name.endswith(("latent", "neuron", "of_all"))]
    scores = image_scores(dict.fromkeys(names, one), coverage, seed=0)
    own = scores[scores.choice == "class_latent"].set_index("image")
    assert own.loc[0, "share"] in (0.6, 0.7) and own.loc[0, "iou"] == pytest.approx(0.4, abs=0.11)
    assert (own["iou"].iloc[1:] > 0.75).all()


def test_masks_are_what_is_above_half_of_the_highest():
    maps = np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0], [-3.0, -1.0, 1.0]])
    low = np.array([0.0, 0.0, -3.0])
    expected = [[False, True, True], [False] * 3, [False, True, True]]
    np.testing.assert_array_equal(above_share(maps, low, 0.5), expected)
    np.testing.assert_array_equal(above_share(maps[0], 0.0, 0.6), [False, False, True])
    np.testing.assert_array_equal(above_share(maps[0], 0.0, 0.0), [False, True, True])
    coverage = np.array([0.0, 0.4, 0.5])
    np.testing.assert_array_equal(points_at(maps, low, np.tile(coverage, (3, 1))), [1, 0, 1])
    assert points_at(np.array([2.0, 1.0, 2.0]), 0.0, coverage) == 0.5  # one of two equal ones


def test_mask_files_are_cut_as_their_images_are(tmp_path):
    mask = np.zeros((12, 20), np.uint8)
    mask[:6, 4:10] = 255  # the left half of the upper half of the middle square
    Image.fromarray(mask).save(tmp_path / "a.png")
    decoding = {"image_size": 12, "preprocess": "clip", "exif": "apply"}
    files = ImageFiles("drawn", tmp_path, tmp_path, decoding)
    rows = pd.DataFrame(
        {"path": ["a.png", "a.png"], "operation": ["", "flip"], "parameter": ["", "horizontal"]}
    )
    masks, coverage = read_masks(files, rows, (2, 2))
    np.testing.assert_array_equal(masks[0], mask[:, 4:16] > 0)
    np.testing.assert_array_equal(masks[1], masks[0][:, ::-1])  # as its image is flipped
    np.testing.assert_array_equal(coverage, [[1, 0, 0, 0], [0, 1, 0, 0]])
    with pytest.raises(ValueError, match="12 × 12 pixels does not split into 5 × 5 patches"):
        read_masks(files, rows, (5, 5))
    with pytest.raises(FileNotFoundError, match="1 of 2 masks are missing, e.g. .*b.png"):
        read_masks(files, rows.assign(path=["a.png", "b.png"]), (2, 2))


def planted(make_store):
    """Objects of 3 classes on 42 images of 16 patches: latents 0 to 2 fire on them, 3 off them."""
    rng = np.random.default_rng(0)
    label = np.arange(42) % 3
    masks = np.zeros((42, 16), dtype=bool)
    x = np.zeros((42, 17, 5), dtype=np.float32)
    for i, c in enumerate(label):
        masks[i, rng.choice(16, 5, replace=False)] = True
        x[i, 1:][masks[i], c] = rng.uniform(2, 3, 5)
        x[i, 1:][~masks[i], 3] = rng.uniform(1, 3, 11)
    sae = Sae(5, 5, "vanilla")
    for name in ("W_enc", "W_dec"):
        getattr(sae, name).copy_(torch.eye(5))
    return make_store(x), sae, label, masks


def test_planted_latents_get_the_masks_of_their_objects(make_store):
    store, sae, label, masks = planted(make_store)
    images = StoreImages(store, batch_images=7)
    units = {"latents": Latents(sae), "neurons": Neurons(5)}
    found = measure_units(images, units, label, 3, 3, progress=False)
    maps, coverage = {}, masks.astype(float)
    for name, choice in (("latents", "class_latent"), ("neurons", "class_neuron")):
        signed = name == "neurons"
        chosen, sign = class_units(found[name].sums.class_gap(), signed=signed)
        unit = chosen[label]
        patches = picked_values(images, units[name], images.rows, unit)[:, 1:]
        np.testing.assert_array_equal(unit, label)
        if signed:
            maps[choice] = PatchMaps.of_neurons(unit, patches, sign[label])
        else:
            maps[choice] = PatchMaps.of_latents(unit, patches)
            np.testing.assert_array_equal(above_share(patches, 0.0, 0.5), masks)
    beside = np.full(42, 3)
    patches = picked_values(images, units["latents"], images.rows, beside)[:, 1:]
    for choice in ("strongest_latent", "strongest_of_all", "random_latent"):
        maps[choice] = PatchMaps.of_latents(beside, patches)
    nothing = np.full(42, -1)
    maps["random_neuron"] = PatchMaps.of_latents(nothing, patches)
    scores = image_scores(maps, coverage, seed=0)
    table = localisation_table(scores, label, ["a", "b", "c"], n_resamples=200, seed=0)
    whole = table[table.label == "all"].set_index("choice")
    assert list(whole.index) == list(CHOICES)
    for choice in ("class_latent", "class_neuron", "best_patches"):
        assert (
            whole.loc[choice, ["iou", "pointing", "iou_gain", "iou_gain_low", "auroc"]].eq(1).all()
        )
    assert whole.loc["random_latent", ["iou", "pointing", "auroc", "iou_gain"]].eq(0).all()
    assert whole.loc["whole_image", "auroc"] == 0.5
    assert whole.loc["random_neuron", ["iou", "pointing", "active"]].eq(0).all()
    assert whole.loc["class_latent_other_object", "iou"] < 0.5
    np.testing.assert_allclose(whole.loc["whole_image", ["iou", "pointing"]].tolist(), 5 / 16)
    by_class = table[table.label != "all"]
    assert by_class[["label", "unit"]].values.tolist() == [["a", 0], ["b", 1], ["c", 2]]
    assert (by_class.n_images == 14).all() and (whole.n_images == 42).all()


def test_a_random_unit_is_one_that_is_active_on_a_patch():
    values = torch.zeros(3, 5, 6)
    values[:, 0, 5] = 1.0  # on CLS alone
    values[0, 2, [1, 3]] = 1.0
    values[1, 1, 4] = 2.0
    allowed = np.array([1, 1, 1, 1, 0, 1], dtype=bool)
    drawn = []
    for seed in range(30):
        watcher = RandomActiveUnit(allowed, seed)
        watcher.add(values[:1], np.array([7]))
        watcher.add(values[1:], np.array([3, 9]))
        drawn.append(watcher.unit)
        parts = RandomActiveUnit(allowed, seed)
        for i, row in enumerate([7, 3, 9]):
            parts.add(values[i : i + 1], np.array([row]))
        np.testing.assert_array_equal(parts.unit, drawn[-1])
    drawn = np.array(drawn)
    assert set(drawn[:, 0]) == {1, 3} and (drawn[:, 1:] == -1).all()


def test_every_image_is_the_other_of_one():
    partner = other_image(np.arange(9), 0)
    assert sorted(partner) == list(range(9)) and (partner != np.arange(9)).all()


def test_units_that_can_be_negative_count_both_ways():
    gap = np.array([[0.5, -2.0, 1.0], [0.1, 0.2, 0.1]])
    unit, sign = class_units(gap, signed=True)
    assert unit.tolist() == [1, 1] and sign.tolist() == [-1, 1]
    unit, sign = class_units(gap, signed=False)
    assert unit.tolist() == [2, 1] and sign.tolist() == [1, 1]
    one = PatchMaps.of_neurons(unit, np.array([[1.0, 3.0], [0, 0]]), np.array([-1.0, 1.0]))
    np.testing.assert_array_equal(one.maps, [[-1, -3], [0, 0]])
    np.testing.assert_array_equal(one.low, [-3, 0])


def test_each_rule_chooses_its_unit_for_each_image(make_store, sae, x):
    label = np.arange(11) % 2
    sae.b_enc.sub_(1.0)  # sparser
    store = make_store(x)
    images = StoreImages(store, batch_images=4)
    units = {"latent": Latents(sae), "neuron": Neurons(6)}
    found = measure_units(images, units, label, 2, 3, progress=False)
    sums = {kind: one.sums for kind, one in found.items()}
    options = {"max_share": 0.6, "strongest": 2, "seed": 0}
    chosen = choose_units(images, units, sums, label, **options)
    latents = sae.encode(torch.from_numpy(x.astype(np.float32))).latents.numpy()
    by_image = latents.mean(1)
    share = (by_image > 0).mean(0)
    allowed = (share > 0) & (share <= 0.6)
    np.testing.assert_array_equal(selective(sums["latent"], 0.6), allowed)
    assert set(chosen.maps) == {n for n in CHOICES if n.endswith(("latent", "neuron", "of_all"))}
    for i in range(11):
        ranked = [u for u in np.argsort(-by_image[i]) if allowed[u] and by_image[i, u] > 0]
        assert chosen.strongest[i].tolist() == [*ranked, -1, -1][:2]
        assert chosen.maps["strongest_latent"].unit[i] == chosen.strongest[i, 0]
        if by_image[i].max() > 0:
            assert chosen.maps["strongest_of_all"].unit[i] == by_image[i].argmax()
        drawn = chosen.maps["random_latent"].unit[i]
        on_patches = allowed & (latents[i, 1:].max(0) > 0)
        assert on_patches[drawn] if on_patches.any() else drawn == -1
    assert len(set(chosen.strongest[:, 0]) - {-1}) > 1 and allowed.sum() > 2
    own = sums["latent"].class_gap().argmax(1)[label]
    one = chosen.maps["class_latent"]
    np.testing.assert_array_equal(one.unit, own)
    expected = latents[np.arange(11)[:, None], np.arange(1, 10), own[:, None]]
    np.testing.assert_allclose(one.maps, expected, rtol=1e-5, atol=1e-6)
    neuron = chosen.maps["random_neuron"]
    both = np.abs(x[np.arange(11)[:, None], np.arange(1, 10), neuron.unit[:, None]])
    np.testing.assert_allclose(np.abs(neuron.maps), both, rtol=1e-5)
    parts = choose_units(StoreImages(store, batch_images=1), units, sums, label, **options)
    for choice, maps in chosen.maps.items():
        np.testing.assert_array_equal(parts.maps[choice].unit, maps.unit)


def test_examples_are_of_median_score_and_of_classes_spread_evenly():
    own = np.repeat([0, 1, 2, 4], 3)
    score = np.array([3.0, 1, 2, 0, 0, 0, 5, 6, 7, 9, 8, 7])
    assert median_examples(score, own, 2).tolist() == [2, 10]
    assert median_examples(score, own, 9).tolist() == [2, 4, 7, 10]
    assert first_examples(own, 2).tolist() == [0, 9]


def test_examples_are_named_as_in_the_manifest():
    manifest = pd.DataFrame({"path": ["val/cat.png", "val/dog.png"]}, index=[3, 8])
    assert named_examples(manifest, ["val/dog.png", "val/cat.png"]).tolist() == [8, 3]
    with pytest.raises(ValueError, match="'val/cats.png' is not in the manifest. Did you mean 'v"):
        named_examples(manifest, ["val/cats.png"])

"""One streaming pass against plain loops over all latents in memory."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clip_sae.analyses.concepts.measure import (
    class_shares,
    concept_table,
    highest_entropy,
    label_deviation,
    label_entropy,
)
from clip_sae.analyses.concepts.unit_maps import picked_values, reference_maps
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.sums import StrongestUnits, Watched, measure_units
from clip_sae.analyses.shared.units import Latents, Neurons

NAMES = ["ant", "bee", "cat"]
LABEL = np.array([2, 0, 1, 1, 0, 2, 2, 0, 1, 0, 0])  # of the eleven images of the fixture


def measure(store, sae, *, batch_images=4, k=3, rows=None, label=LABEL):
    images = StoreImages(store, rows, batch_images=batch_images)
    units = {"latents": Latents(sae), "neurons": Neurons(store.d_model)}
    return measure_units(images, units, label, len(NAMES), k, threshold=0.2, progress=False)


@pytest.fixture
def latents(sae, x):
    """[image, token, latent] of all images at once."""
    return sae.encode(torch.from_numpy(x.astype(np.float32))).latents.numpy().astype(np.float64)


def test_sums_are_those_of_plain_loops(store, sae, x, latents):
    found = measure(store, sae)
    for name, values in (("latents", latents), ("neurons", x.astype(np.float64))):
        sums = found[name].sums
        for unit in range(values.shape[2]):
            by_image = [sum(values[i, :, unit]) / values.shape[1] for i in range(len(x))]
            active = [value for value in by_image if value > 0]
            assert sums.n_active[unit] == len(active)
            assert sums.sparsity[unit] == len(active) / 11
            if name == "latents" and active:
                mean = sum(active) / len(active)
                np.testing.assert_allclose(sums.mean_activation[unit], mean, rtol=1e-5)
            for c in range(3):
                of_class = sum(v for v, label in zip(by_image, LABEL, strict=True) if label == c)
                np.testing.assert_allclose(sums.total[c, unit], of_class, rtol=1e-4, atol=1e-6)
            expected = _gap(np.array(by_image), LABEL)
            np.testing.assert_allclose(sums.class_gap()[:, unit], expected, rtol=1e-3, atol=1e-4)
    assert np.isnan(found["latents"].sums.mean_activation[:2]).all()  # the dead ones
    assert found["neurons"].class_counts is None and found["neurons"].strongest is None
    strongest = found["latents"].strongest
    for i, image in enumerate(latents.mean(1)):
        np.testing.assert_allclose(strongest.value[i], np.sort(image)[::-1][:3], rtol=1e-5)
        assert strongest.unit[i, 0] == image.argmax()


def _gap(value, label):
    if value.std() == 0:
        return np.zeros(3)
    return [(value[label == c].mean() - value[label != c].mean()) / value.std() for c in range(3)]


def test_class_counts_are_those_of_plain_loops(store, sae, latents):
    counts = measure(store, sae)["latents"].class_counts.counts
    slow = np.zeros_like(counts)
    for i, label in enumerate(LABEL):
        for token in latents[i]:
            slow[label] += token > 0.2
    np.testing.assert_array_equal(counts, slow)


# the fixtures are makers without a state, so examples share nothing
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 1000), batch_images=st.integers(1, 12))
def test_neither_shards_nor_batches_nor_memory_change_the_matrix(
    make_store, make_sae, seed, batch_images
):
    """The same images in any order of the store, in any batches, in any chunks of memory."""
    from clip_sae.analyses.shared import top_images

    rng = np.random.default_rng(seed)
    x = rng.normal(size=(11, 10, 6)).astype(np.float32)
    order = rng.permutation(11)
    sae = make_sae()
    whole = measure(make_store(x), sae, batch_images=11)["latents"]
    at_once = top_images.BYTES_AT_ONCE
    try:
        top_images.BYTES_AT_ONCE = int(rng.integers(1, 4)) * 4 * 10 * 16
        store = make_store(x[order], source_index=order)
        parts = measure(store, sae, batch_images=batch_images)["latents"]
    finally:
        top_images.BYTES_AT_ONCE = at_once
    np.testing.assert_array_equal(parts.class_counts.counts, whole.class_counts.counts)
    np.testing.assert_array_equal(parts.sums.n_active, whole.sums.n_active)
    np.testing.assert_array_equal(parts.top.row, whole.top.row)
    np.testing.assert_allclose(parts.sums.total, whole.sums.total, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(parts.sums.square, whole.sums.square, rtol=1e-5, atol=1e-9)


def test_a_watched_unit_serves_one_pass(x, sae):
    watched = Watched(Latents(sae), np.arange(3))
    watched.read(torch.from_numpy(x[:3].astype(np.float32)))
    with pytest.raises(ValueError, match="serves one pass"):
        watched.read(torch.from_numpy(x[:1].astype(np.float32)))


def test_the_strongest_units_of_an_image_leave_out_what_is_not_allowed(latents):
    allowed = np.arange(16) % 3 > 0
    watcher = StrongestUnits(4, allowed)
    for part in np.split(latents, [5]):
        watcher.add(torch.from_numpy(part), np.zeros(len(part)))
    for i, image in enumerate(latents.mean(1)):
        ranked = sorted(np.flatnonzero(allowed), key=lambda unit: -image[unit])[:4]
        np.testing.assert_allclose(watcher.value[i], image[ranked])
        expected = [unit if image[unit] > 0 else -1 for unit in ranked]
        assert watcher.unit[i].tolist() == expected


@given(
    weights=st.lists(st.floats(0.01, 10), min_size=4, max_size=4),
    label=st.lists(st.integers(0, 4), min_size=4, max_size=4),
)
def test_entropy_is_the_sum_of_its_definition(weights, label):
    shares = class_shares(np.array([weights]), np.array([label]), 5)
    total, slow = sum(weights), 0.0
    for c in set(label):
        p = sum(w for w, own in zip(weights, label, strict=True) if own == c) / total
        slow -= p * np.log(p)
    [found] = label_entropy(shares)
    np.testing.assert_allclose(found, slow, atol=1e-12)
    assert 0 <= found <= highest_entropy(4, 5) + 1e-12
    np.testing.assert_allclose(label_deviation(np.array([label])), np.std(label))


def test_entropy_by_hand():
    value, label = (
        np.array([[3.0, 1.0], [1.0, 1.0], [1.0, 0.0]]),
        np.array([[0, 1], [1, 1], [2, -1]]),
    )
    shares = class_shares(value, label, 3)
    np.testing.assert_array_equal(shares, [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 1]])
    by_hand = [-0.75 * np.log(0.75) - 0.25 * np.log(0.25), 0, 0]
    np.testing.assert_allclose(label_entropy(shares), by_hand)
    np.testing.assert_array_equal(label_deviation(label), [0.5, 0, 0])
    assert np.isnan(label_deviation(np.array([[-1, -1]])))
    assert highest_entropy(10, 24) == np.log(10) and highest_entropy(10, 2) == np.log(2)


def test_the_table_has_a_row_per_latent(store, sae, latents):
    found = measure(store, sae)["latents"]
    table = concept_table(found, LABEL, NAMES)
    assert len(table) == 16 and table.n_images.eq(11).all()
    dead = table.iloc[:2]
    assert dead.sparsity.eq(0).all() and dead.images.eq("").all() and dead.top_label.eq("").all()
    assert (
        dead[["log10_sparsity", "mean_activation", "label_entropy", "label_std"]].isna().all(None)
    )
    by_image = latents.mean(1)
    for row in table.iloc[2:].itertuples():
        value = by_image[:, row.unit]
        top = np.argsort(-value, kind="stable")[:3]
        if (value > 0).sum() < 3:
            assert np.isnan(row.label_entropy) and np.isnan(row.label_std)
            continue
        assert row.images == " ".join(map(str, top))
        np.testing.assert_allclose(row.log10_sparsity, np.log10((value > 0).mean()))
        shares = np.bincount(LABEL[top], weights=value[top], minlength=3) / value[top].sum()
        slow = -sum(p * np.log(p) for p in shares if p > 0)
        np.testing.assert_allclose(row.label_entropy, slow, atol=1e-5)
        np.testing.assert_allclose(row.label_entropy_normalised, slow / np.log(3), atol=1e-5)
        assert row.top_label == NAMES[shares.argmax()]
        np.testing.assert_allclose(row.label_std, np.std(LABEL[top]))


@pytest.mark.parametrize("order_seed", [None, 3])
def test_reference_maps_are_the_latents_on_their_images(make_store, sae, x, latents, order_seed,
                                                        monkeypatch):  # fmt: skip
    monkeypatch.setattr("clip_sae.analyses.concepts.unit_maps.IMAGES_AT_ONCE", 3)
    order = np.arange(11) if order_seed is None else np.random.default_rng(3).permutation(11)
    store = make_store(x[order], source_index=order)
    top = measure(store, sae)["latents"].top
    maps = reference_maps(StoreImages(store, batch_images=2), Latents(sae), top.row)
    assert maps.shape == (16, 3, 9) and maps.dtype == np.float16
    for unit, place in np.ndindex(top.row.shape):
        if top.row[unit, place] < 0:
            assert np.isnan(maps[unit, place]).all()
        else:
            expected = latents[top.row[unit, place], 1:, unit]
            np.testing.assert_allclose(maps[unit, place], expected, rtol=2e-3, atol=1e-3)
    with pytest.raises(ValueError, match="lacks the image of manifest row 5"):
        some = StoreImages(store, np.array([1, 2, 7]))
        picked_values(some, Latents(sae), np.array([1, 5]), np.array([0, 0]))

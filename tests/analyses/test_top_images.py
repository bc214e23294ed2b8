"""The strongest images of each unit against sorting all of them."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clip_sae.analyses.shared import top_images
from clip_sae.analyses.shared.named_records import read_records
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.top_images import (
    RANKINGS,
    TopImages,
    measure_top_images,
    token_values,
    write_top_images,
)
from clip_sae.analyses.shared.units import Latents, Neurons


def measure(store, units, k, *, batch_images=32, signed=(), rows=None, rankings=RANKINGS):
    images = StoreImages(store, rows, batch_images=batch_images)
    options = {"rankings": rankings, "signed": signed, "progress": False}
    return measure_top_images(images, units, k, device="cpu", **options)


def over_tokens(values, ranking):
    """[image, unit] from [image, token, unit], as its name says."""
    if ranking == "cls":
        return values[:, 0]
    return values.mean(1) if ranking == "mean" else values.max(1)


def slow_top(values, rows, k, *, signed):
    """Sort all images of every unit: strongest first, then smallest row."""
    value = np.full((values.shape[1], k), -np.inf, np.float32)
    row = np.full((values.shape[1], k), -1, np.int64)
    for unit in range(values.shape[1]):
        images = [i for i in range(len(rows)) if signed or values[i, unit] > 0]
        images = sorted(images, key=lambda i: (-values[i, unit], rows[i]))[:k]
        value[unit, : len(images)] = [values[i, unit] for i in images]
        row[unit, : len(images)] = [rows[i] for i in images]
    return value, row


# The fixture is a class, which examples cannot change.
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_it_is_what_sorting_everything_gives(make_store, data):
    """Small whole numbers: full of ties, and exact in any batch."""
    shape = tuple(data.draw(st.integers(1, top)) for top in (12, 5, 4))
    seed, k = data.draw(st.integers(0, 1000)), data.draw(st.integers(1, 14))
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, shape).astype(np.float32)
    rows = rng.permutation(100)[: len(x)]
    signed = data.draw(st.booleans())
    found = measure(
        make_store(x, rows),
        {"neurons": Neurons(shape[2])},
        k,
        batch_images=data.draw(st.integers(1, 13)),
        signed=["neurons"] if signed else [],
    )
    for ranking, top in found["neurons"].items():
        values = over_tokens(x, ranking)
        value, row = slow_top(values, rows, k, signed=signed)
        np.testing.assert_array_equal(top.row, row)
        np.testing.assert_array_equal(top.value, value)
        np.testing.assert_array_equal(top.n_active, (values > 0).sum(0))
        assert top.n_images == len(x)


@pytest.mark.parametrize("ranking", RANKINGS)
def test_latents_are_the_saes_own(store, sae, x, ranking):
    latents = sae.encode(torch.from_numpy(x.astype(np.float32))).latents.numpy()
    top = measure(store, {"sae": Latents(sae)}, 5, rankings=[ranking])["sae"][ranking]
    value, row = slow_top(over_tokens(latents, ranking), np.arange(11), 5, signed=False)
    np.testing.assert_array_equal(top.row, row)
    np.testing.assert_allclose(top.value, value, rtol=1e-5)
    assert (top.row[:2] == -1).all() and np.isneginf(top.value[:2]).all()  # the dead latents


@pytest.mark.parametrize("batch_images", [1, 3, 100])
def test_batches_and_the_order_in_the_store_change_nothing(make_store, sae, x, batch_images):
    units = {"sae": Latents(sae), "neurons": Neurons(6)}
    whole = measure(make_store(x), units, 4, signed=["neurons"])
    order = np.random.default_rng(1).permutation(len(x))
    shuffled = make_store(x[order], source_index=order)
    parts = measure(shuffled, units, 4, batch_images=batch_images, signed=["neurons"])
    for name in units:
        for ranking in RANKINGS:
            np.testing.assert_array_equal(parts[name][ranking].row, whole[name][ranking].row)


def test_a_small_memory_changes_nothing(store, sae, monkeypatch):
    whole = measure(store, {"sae": Latents(sae)}, 4)["sae"]
    monkeypatch.setattr(top_images, "BYTES_AT_ONCE", 4 * 10 * 16 * 2)  # two images at a time
    sizes = []
    units = Latents(sae)
    read = units.read
    monkeypatch.setattr(units, "read", lambda x: sizes.append(len(x)) or read(x))
    parts = measure(store, {"sae": units}, 4)["sae"]
    assert max(sizes) == 2 and sum(sizes) == 11
    for ranking in RANKINGS:
        np.testing.assert_array_equal(parts[ranking].row, whole[ranking].row)


def test_only_the_chosen_rows_take_part(store, sae):
    top = measure(store, {"sae": Latents(sae)}, 11, rows=np.array([2, 5, 9]))["sae"]["max"]
    assert set(top.row.ravel()) <= {-1, 2, 5, 9}
    assert top.n_images == 3 and (top.row[:, 3:] == -1).all()


def test_token_values_are_those_that_were_ranked(store, sae, x):
    top = measure(store, {"sae": Latents(sae)}, 3)["sae"]
    for ranking in RANKINGS:
        units, places = np.nonzero(top[ranking].row >= 0)
        rows = top[ranking].row[units, places]
        images = StoreImages(store, np.unique(rows), batch_images=4)
        maps = token_values(images, Latents(sae), rows, units, device="cpu")
        assert maps.shape == (len(units), 10)
        np.testing.assert_allclose(
            over_tokens(maps[..., None], ranking)[:, 0],
            top[ranking].value[units, places],
            rtol=1e-5,
        )
    latents = sae.encode(torch.from_numpy(x[[4]].astype(np.float32))).latents.numpy()
    one = token_values(StoreImages(store), Latents(sae), [4, 4], [7, 9], device="cpu")
    np.testing.assert_allclose(one, latents[0][:, [7, 9]].T, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="memory lacks 1 of the 2 requested images, e.g. manif"):
        token_values(StoreImages(store), Latents(sae), [4, 40], [7, 9], device="cpu")


def test_the_file_holds_all_of_it(store, sae, tmp_path):
    found = measure(store, {"topk|64": Latents(sae), "neurons": Neurons(6)}, 3, signed=["neurons"])
    write_top_images(tmp_path / "top.npz", found)
    read = read_records(tmp_path / "top.npz", TopImages)
    assert list(read) == [f"{name}|{ranking}" for name in found for ranking in found[name]]
    for name, by_ranking in found.items():
        for ranking, top in by_ranking.items():
            for field, array in vars(top).items():
                np.testing.assert_array_equal(vars(read[f"{name}|{ranking}"])[field], array)


def test_what_cannot_be_ranked_is_refused(store, sae):
    with pytest.raises(ValueError, match="0 images by mean, max, cls were requested"):
        measure(store, {"sae": Latents(sae)}, 0)
    with pytest.raises(ValueError, match="3 images by median were requested"):
        measure(store, {"sae": Latents(sae)}, 3, rankings=["median"])

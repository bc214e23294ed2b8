"""Extraction: correct numbers and rows, the same bytes for any way to run it, clear errors."""

import hashlib
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_clip import tiny_source

from clip_sae.clip.model import load_clip
from clip_sae.datasets.images import BadImageError, decode_image
from clip_sae.extraction import extract as extraction
from clip_sae.extraction import stages as extraction_stages
from clip_sae.extraction.extract import EXTRACT_VERSION, ExtractJob, ExtractReport, extract
from clip_sae.store import (
    ActivationOverflow,
    ActivationStore,
    RangeWriter,
    StoreMismatch,
    to_float32,
)

N_IMAGES, N_USABLE = 23, 21
KEYS = [("resid_post", 2), ("mlp_out", 0)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_clip(tiny_source(tmp_path_factory.mktemp("tiny")), device="cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """23 noisy pictures of odd sizes; two of them skipped by the manifest."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(N_IMAGES):
        height, width = rng.integers(17, 40, 2)
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i:02d}.png")
    return root, make_manifest()


def make_manifest():
    """Return the rows of one split of a larger data set, whose index does not start at 0."""
    status = ["skipped" if i in (4, 11) else "ok" for i in range(N_IMAGES)]
    paths = [f"{i:02d}.png" for i in range(N_IMAGES)]
    return pd.DataFrame({"path": paths, "status": status}, index=range(100, 100 + N_IMAGES))


@pytest.fixture
def job(tiny, photos, tmp_path):
    return make_job(tiny, *photos, tmp_path)


def make_job(tiny, root, manifest, folder):
    return ExtractJob(
        manifest=manifest,
        data_root=Path(root),
        stores={(hook, layer): Path(folder) / f"{hook}-L{layer:02d}" for hook, layer in KEYS},
        specs={(hook, layer): {"hook": hook, "layer": layer} for hook, layer in KEYS},
        architecture=tiny.architecture,
        dtype="float32",
        min_shards=4,
        fingerprints={"model": "random:0"},
    )


def run(tiny, job, **options):
    defaults = {"batch_size": 3, "decode_workers": 2, "progress": False}
    return extract(tiny, job, **defaults | options)


# mean and spread of resid_post, two of its values, the same of mlp_out; first manifest rows.
GOLDEN = [-0.01062, 1.14650, 1.27471, 0.46332, 0.19825, 0.14331]
GOLDEN_ROWS = [112, 120, 118, 105, 102]


def expected_tokens(tiny, job, key):
    images = [decode_image(path, image_size=16) for path in job.paths()]
    return tiny.run_to_pairs(tiny.normalise(np.stack(images)), [key])[key].numpy()


def shard_bytes(job):
    """Return the sha256 of every shard file by store and path."""
    return {
        (key, path.relative_to(folder).as_posix()): hashlib.sha256(path.read_bytes()).hexdigest()
        for key, folder in job.stores.items()
        for array in ("patch", "cls")
        for path in (folder / "acts.zarr" / array / "c").rglob("*")
        if path.is_file()
    }


def test_every_store_holds_the_hooks_of_its_images_in_order(tiny, job):
    report = run(tiny, job)
    assert report.images == N_USABLE
    for key, folder in job.stores.items():
        store = ActivationStore(folder)
        np.testing.assert_allclose(
            store.read(0, N_USABLE), expected_tokens(tiny, job, key), rtol=0, atol=1e-5
        )
        np.testing.assert_array_equal(store.source_index, job.source_index)
        assert store.fingerprints == {"model": "random:0"}


def test_images_are_permuted_once_and_skipped_ones_never_enter(job):
    rows = job.source_index
    usable = job.manifest.index[job.manifest["status"] == "ok"]
    assert sorted(rows) == list(usable)
    assert list(rows) != sorted(rows)
    assert [path.name for path in job.paths()] == list(job.manifest.loc[rows, "path"])
    np.testing.assert_array_equal(replace(job, max_images=5).source_index, rows[:5])
    assert not np.array_equal(replace(job, seed=1).source_index, rows)


def test_a_manifest_without_usable_images_gets_a_sentence(job):
    with pytest.raises(ValueError, match="none of the 23 manifest rows has status 'ok'"):
        _ = replace(job, manifest=job.manifest.assign(status="skipped")).source_index


def test_a_second_run_does_nothing(tiny, job, monkeypatch):
    run(tiny, job)
    before = shard_bytes(job)
    monkeypatch.setattr(tiny, "run_to_pairs", None)
    report = run(tiny, job)
    assert report.images == 0
    assert shard_bytes(job) == before


def test_ranges_written_apart_and_threads_give_the_same_bytes(tiny, job, tmp_path):
    run(tiny, job)
    apart = replace(job, stores={key: tmp_path / "apart" / str(key) for key in KEYS})
    assert job.layout.n_ranges >= 4
    for k in reversed(range(job.layout.n_ranges)):
        run(tiny, apart, ranges=[k], decode_workers=1, write_workers=2)
    assert not (apart.stores[KEYS[0]] / "COMPLETE.json").exists()
    assert run(tiny, apart).images == 0
    assert shard_bytes(apart) == shard_bytes(job)
    assert len(shard_bytes(job)) == 2 * 2 * job.layout.n_ranges


@pytest.mark.parametrize("stage", ["decode", "forward", "write"])
def test_a_run_that_breaks_off_resumes_to_the_same_bytes(tiny, job, tmp_path, monkeypatch, stage):
    whole = replace(job, stores={key: tmp_path / "whole" / str(key) for key in KEYS})
    run(tiny, whole)
    calls = []

    def break_at(n, original):
        def broken(*args, **kwargs):
            calls.append(1)
            if len(calls) == n:
                raise OSError("the disk is full")
            return original(*args, **kwargs)

        return broken

    with monkeypatch.context() as patch:
        if stage == "decode":
            patch.setattr(ExtractJob, "decode", break_at(12, ExtractJob.decode))
        elif stage == "forward":
            patch.setattr(tiny, "run_to_pairs", break_at(5, tiny.run_to_pairs))
        else:
            patch.setattr(RangeWriter, "put", break_at(9, RangeWriter.put))
        with pytest.raises(OSError, match="the disk is full"):
            run(tiny, job)
    writers = job.open_writers()
    finished = [k for k in range(job.layout.n_ranges) if writers[KEYS[0]].finished(k)]
    assert 0 < len(finished) < job.layout.n_ranges
    assert not any((folder / "COMPLETE.json").exists() for folder in job.stores.values())
    assert 0 < run(tiny, job).images < N_USABLE
    assert shard_bytes(job) == shard_bytes(whole)


KILLED_RUN = """
import sys, time
sys.path.insert(0, {tests!r})
import test_extraction as t
from clip_sae.clip.model import ModelSource, load_clip
model = load_clip(ModelSource({model!r}, "random:0"), device="cpu")
decode = t.ExtractJob.decode
t.ExtractJob.decode = lambda self, *row: time.sleep(0.05) or decode(self, *row)
t.run(model, t.make_job(model, {root!r}, t.make_manifest(), {stores!r}))
"""


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_bytes(tiny, job, photos, tmp_path):
    whole = replace(job, stores={key: tmp_path / "whole" / str(key) for key in KEYS})
    run(tiny, whole)
    names = {"tests": str(Path(__file__).parent), "model": tiny.source.model}
    code = KILLED_RUN.format(**names, root=str(photos[0]), stores=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code])
    while process.poll() is None and not any(tmp_path.glob("mlp_out*/parts/00002.json")):
        time.sleep(0.01)
    assert process.poll() is None
    process.kill()
    process.wait()
    assert 0 < run(tiny, job).images < N_USABLE
    assert shard_bytes(job) == shard_bytes(whole)


def test_a_further_layer_runs_alone(tiny, job, tmp_path):
    """A finished store is not rewritten for a new store of the same pass."""
    first = replace(job, stores={KEYS[0]: job.stores[KEYS[0]]})
    run(tiny, first)
    before = shard_bytes(first)
    asked = []
    original = tiny.run_to_pairs
    try:
        tiny.run_to_pairs = lambda px, keys: asked.append(tuple(keys)) or original(px, keys)
        run(tiny, job)
    finally:
        del tiny.run_to_pairs
    assert set(asked) == {(KEYS[1],)}
    assert before.items() <= shard_bytes(job).items()


def test_the_batch_size_changes_nothing_but_rounding(tiny, job, tmp_path):
    other = replace(job, stores={key: tmp_path / "other" / str(key) for key in KEYS})
    run(tiny, job)
    run(tiny, other, batch_size=64)
    for key in KEYS:
        one, two = ActivationStore(job.stores[key]), ActivationStore(other.stores[key])
        np.testing.assert_allclose(one.read(0, N_USABLE), two.read(0, N_USABLE), rtol=0, atol=1e-5)


def test_running_out_of_memory_halves_the_batch(tiny, job, monkeypatch):
    original = tiny.run_to_pairs

    def small_device(pixels, keys):
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(pixels, keys)

    monkeypatch.setattr(tiny, "run_to_pairs", small_device)
    report = run(tiny, job, batch_size=5)
    assert report.batch_limit == 2
    tokens = ActivationStore(job.stores[KEYS[0]]).read(0, N_USABLE)
    monkeypatch.undo()
    np.testing.assert_allclose(tokens, expected_tokens(tiny, job, KEYS[0]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("bfloat16", 1e-2)])
def test_other_dtypes_round_once(tiny, job, dtype, tolerance):
    job = replace(job, dtype=dtype)
    run(tiny, job)
    tokens = to_float32(ActivationStore(job.stores[KEYS[0]]).read(0, N_USABLE))
    expected = expected_tokens(tiny, job, KEYS[0])
    np.testing.assert_allclose(tokens, expected, rtol=tolerance, atol=tolerance)
    cast = torch.from_numpy(expected).to(getattr(torch, dtype)).float().numpy()
    assert (tokens == cast).mean() > 0.99  # the rest: another batch size rounds differently


def test_a_value_too_large_for_float16_stops_with_advice(tiny, job, monkeypatch):
    job = replace(job, dtype="float16", stores={KEYS[0]: job.stores[KEYS[0]]})
    original = tiny.run_to_pairs

    def huge(pixels, keys):
        return {key: value * 1e6 for key, value in original(pixels, keys).items()}

    monkeypatch.setattr(tiny, "run_to_pairs", huge)
    with pytest.raises(ActivationOverflow, match="layer 2.*resid_post.*dtype: bfloat16"):
        run(tiny, job)


def test_an_image_that_went_bad_is_named(tiny, job, tmp_path):
    for path in job.paths():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    victim = tmp_path / job.paths()[10].name
    victim.write_bytes(victim.read_bytes()[:60])
    with pytest.raises(BadImageError, match=victim.name):
        run(tiny, replace(job, data_root=tmp_path))


def test_other_inputs_rebuild_a_store_but_never_from_one_of_many_processes(tiny, job):
    run(tiny, job)
    changed = replace(job, seed=1, fingerprints={"model": "random:1"})
    with pytest.raises(StoreMismatch, match="fingerprints of model"):
        run(tiny, changed, ranges=[0])
    assert run(tiny, changed).images == N_USABLE
    assert ActivationStore(changed.stores[KEYS[0]]).fingerprints == {"model": "random:1"}


def test_preprocessing_reaches_the_decoder(job):
    path = job.paths()[0]
    squashed = replace(job, preprocess="squash").decode(path)
    np.testing.assert_array_equal(squashed, decode_image(path, image_size=16, preprocess="squash"))
    assert not np.array_equal(squashed, job.decode(path))


def test_an_augmented_row_is_stored_as_its_operation_shows_it(tiny, job):
    rows = job.manifest.assign(operation="", parameter="")
    flipped = rows.assign(operation="flip", parameter="horizontal")
    manifest = pd.concat([rows, flipped], ignore_index=True)
    augmented = replace(job, manifest=manifest)
    assert run(tiny, augmented).images == 2 * N_USABLE
    key = KEYS[0]
    store = ActivationStore(job.stores[key])
    options = [dict(row) for _, row in manifest.loc[store.source_index].iterrows()]
    pixels = [
        decode_image(path, image_size=16, operation=row["operation"], parameter=row["parameter"])
        for path, row in zip(augmented.paths(), options, strict=True)
    ]
    expected = tiny.run_to_pairs(tiny.normalise(np.stack(pixels)), [key])[key].numpy()
    np.testing.assert_allclose(store.read(0, 2 * N_USABLE), expected, rtol=0, atol=1e-5)


def test_memory_holds_a_few_batches_only(tiny, job, monkeypatch):
    """If the writer is stuck, the decoders stop after a few batches."""
    decoded = []
    original = ExtractJob.decode
    monkeypatch.setattr(
        ExtractJob, "decode", lambda self, *row: decoded.append(row) or original(self, *row)
    )
    held = extraction_stages.BATCHES_AHEAD + extraction_stages.BATCHES_BEHIND + 3
    monkeypatch.setattr(extraction, "_hand_over", stop_after(1, extraction._hand_over))
    with pytest.raises(KeyboardInterrupt):
        run(tiny, job, batch_size=1)
    assert len(decoded) <= held < N_USABLE


def stop_after(n, original):
    calls = []

    def stopping(*args):
        calls.append(1)
        if len(calls) > n:
            raise KeyboardInterrupt
        return original(*args)

    return stopping


def test_report_names_the_bottleneck():
    def report(**seconds):
        return ExtractReport(10, 2.0, seconds, None)

    assert report(wait_decode=5.0, forward=1.0, wait_write=0.5).bottleneck == "decode"
    assert report(wait_decode=0.1, forward=1.0, wait_write=0.5).bottleneck == "forward"
    assert report(wait_decode=0.1, forward=1.0, wait_write=5.0).bottleneck == "write"
    # CUDA: the main thread waits for a writer which waits for the device
    held_up = report(wait_decode=0.1, forward=0.2, wait_write=5.0, wait_forward=4.5)
    assert held_up.bottleneck == "forward"
    assert held_up.images_per_second == 5.0


def test_progress_counts_finished_ranges(tiny, job, capfd):
    run(tiny, job, ranges=[0, 1])
    run(tiny, job, progress=True)
    shown = capfd.readouterr().err
    first = job.layout.range_bounds(1)[1]
    assert f"{first}/{N_USABLE}" in shown
    assert f"{N_USABLE}/{N_USABLE}" in shown
    assert "image/s" in shown


def test_golden_numbers(tiny, job):
    """Raise EXTRACT_VERSION if these numbers change. Tolerance: other torch and CPU builds."""
    assert EXTRACT_VERSION == 1
    run(tiny, job)
    x = ActivationStore(job.stores["resid_post", 2]).read(0, N_USABLE)
    mlp_out = ActivationStore(job.stores["mlp_out", 0]).read(0, N_USABLE)
    summary = [x.mean(), x.std(), x[0, 0, 0], x[20, 4, 31], mlp_out.std(), mlp_out[7, 2, 5]]
    np.testing.assert_allclose(summary, GOLDEN, rtol=0, atol=2e-4)
    np.testing.assert_array_equal(job.source_index[:5], GOLDEN_ROWS)

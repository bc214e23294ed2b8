"""Writing: any batches, checked values, one owner per range, and a rerun after kill -9 anywhere."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from store_samples import LAYOUT, SPEC, open_writer, tree, values_of, write_ranges, write_store

from clip_sae.store import (
    ActivationOverflow,
    ActivationStore,
    StoreError,
    StoreIncomplete,
    StoreLayout,
    StoreMismatch,
    StoreWriter,
)

FORK = multiprocessing.get_context("fork")


@pytest.mark.parametrize("batch", [1, 2, 7, 21])
def test_batch_size_changes_no_byte(tmp_path, batch):
    write_store(tmp_path / "a", batch=5)
    write_store(tmp_path / "b", batch=batch)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_stats_are_those_of_the_stored_values(made):
    stats = ActivationStore(made.path).stats
    for name in ("cls", "patch"):
        x = made.arrays[name].astype(np.float64).reshape(-1, 4)
        assert stats[name].count == len(x)
        np.testing.assert_allclose(stats[name].mean, x.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(stats[name].variance, x.var(axis=0), rtol=1e-5)
        assert stats[name].absmax == np.abs(x).max()


def test_float16_input_gives_the_same_store(tmp_path):
    made = write_store(tmp_path / "a")
    writer = open_writer(tmp_path / "b")
    tokens = made.tokens.astype(np.float16)
    write_ranges(writer, {"cls": tokens[:, 0], "patch": tokens[:, 1:]})  # strided views
    writer.complete()
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_an_overflow_names_the_place_and_the_way_out(tmp_path):
    writer = open_writer(tmp_path / "store")
    arrays = values_of(LAYOUT)
    arrays["patch"][11, 2, 1] = -70000
    message = (
        r"layer 5, hook resid_post in .*store: image row 11 \(manifest row 9\), patch 2, "
        r"d_model index 1 is -70000; float16 is stored up to 60000\. Set `dtype: bfloat16`"
    )
    with pytest.raises(ActivationOverflow, match=message):
        write_ranges(writer, arrays, [1])
    assert not writer.finished(1)
    assert not [*(tmp_path / "store" / ".tmp").iterdir()]  # nothing is left
    arrays["patch"][11, 2, 1] = np.nan
    with pytest.raises(ActivationOverflow, match=r"patch 2.* is nan.*check the weights"):
        write_ranges(writer, arrays, [1])


def test_bfloat16_takes_what_float16_refuses(tmp_path):
    layout = StoreLayout(2, 3, 4, dtype="bfloat16", chunk_images=2, chunks_per_shard=1)
    writer = open_writer(tmp_path / "store", layout)
    arrays = values_of(layout)
    arrays["cls"][0, 0] = 2.0**17
    write_ranges(writer, arrays)
    arrays["cls"][0, 0] = np.inf
    with pytest.raises(ActivationOverflow, match="Run the model in float32"):
        write_ranges(writer, arrays)


def test_wrong_shapes_and_counts(tmp_path):
    writer = open_writer(tmp_path / "store")
    x = values_of(LAYOUT)
    cls, patch = x["cls"], x["patch"]
    cases = [
        (dict(cls=cls[:2], patch=patch[:3]), r"patch got float32 \[3, 3, 4\]; .*\[2, 3, 4\]"),
        (dict(cls=cls[:2].astype(float), patch=patch[:2]), "cls got float64 .*float16 or float32"),
        (dict(cls=cls[:9], patch=patch[:9]), "0 are put and 9 more do not fit"),
        (dict(cls=cls[:2], patch=patch[:2], prompt=patch[:2]), r"has the arrays \['patch', 'cls'"),
        (dict(cls=cls[:2], patch=patch[:2]), r"range 0 .* needs 8 images and got 2; it was not"),
    ]
    for batch, message in cases:
        with pytest.raises(StoreError, match=message), writer.range(0) as part:
            part.put(**batch)
    assert writer.unfinished() == [0, 1, 2]
    with pytest.raises(ValueError, match="range 3 is not in the store"), writer.range(3):
        pass


def test_source_index_must_cover_the_images(tmp_path):
    with pytest.raises(StoreError, match=r"source_index is int64 \[3\].*each of the 21 images"):
        StoreWriter(tmp_path / "s", LAYOUT, spec=SPEC, source_index=np.arange(3))


def test_a_reopened_store_goes_on_where_it_stopped(tmp_path):
    reference = write_store(tmp_path / "reference")
    write_ranges(open_writer(tmp_path / "store"), reference.arrays, [1])
    writer = open_writer(tmp_path / "store")
    assert [writer.finished(k) for k in range(3)] == [False, True, False]
    with pytest.raises(StoreIncomplete, match=r"1 of 3 ranges are written; missing: 0, 2"):
        writer.complete()
    write_ranges(writer, reference.arrays, writer.unfinished())
    writer.complete()
    assert tree(tmp_path / "store") == tree(tmp_path / "reference")


def test_another_spec_is_refused_with_the_keys(made):
    other = SPEC | {"layer": 6, "model": {"name": "big"}}
    message = r"spec.json differs .* layer \(5 there, 6 here\), model.name \('tiny' there"
    with pytest.raises(StoreMismatch, match=message):
        open_writer(made.path, spec=other)


def test_spec_may_hold_tuples(tmp_path):
    for _ in range(2):
        open_writer(tmp_path / "store", spec={"axes": ("image", "token")})


def test_other_inputs_are_refused_or_rebuilt(tmp_path):
    writer = open_writer(tmp_path / "store", fingerprints={"weights": "1"})
    write_ranges(writer, values_of(LAYOUT))
    with pytest.raises(StoreMismatch, match=r"fingerprints of weights \('1' there, '2' here\)"):
        open_writer(tmp_path / "store", fingerprints={"weights": "2"})
    smaller = StoreLayout(20, 3, 4, chunk_images=2, chunks_per_shard=4)
    with pytest.raises(StoreMismatch, match="another layout .*n_images=21.*n_images=20"):
        open_writer(tmp_path / "store", smaller)
    again = open_writer(tmp_path / "store", fingerprints={"weights": "2"}, rebuild=True)
    assert again.unfinished() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    kept = open_writer(tmp_path / "store", fingerprints={"weights": "2"}, rebuild=True)
    assert kept.fingerprints == {"weights": "2"}


def test_a_full_disk_is_said_before_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    layout = StoreLayout(30_000, 49, 768)
    with pytest.raises(StoreError, match=r"needs 2\.3 GB; 0\.0 GB are free there. Make room"):
        open_writer(tmp_path / "s", layout)


def test_many_threads_write_distinct_ranges(tmp_path):
    reference = write_store(tmp_path / "reference")
    writers = [open_writer(tmp_path / "store") for _ in range(3)]
    jobs = [
        threading.Thread(target=write_ranges, args=(writer, reference.arrays, [k]))
        for k, writer in enumerate(writers)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    writers[0].complete()
    assert tree(tmp_path / "store") == tree(tmp_path / "reference")


def _write_until_killed(path, kill_at):
    """Write a store; the process dies at the kill_at-th change of the disk, as in a power cut."""
    calls = 0

    def deadly(real):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in ("writev", "replace", "rename", "fsync"):
        setattr(os, name, deadly(getattr(os, name)))
    _write_missing(path)


def _write_missing(path):
    writer = open_writer(path)
    write_ranges(writer, values_of(LAYOUT), writer.unfinished())
    writer.complete()


def test_kill_nine_anywhere_then_a_rerun_gives_the_same_bytes(tmp_path):
    reference = tree(write_store(tmp_path / "reference").path)
    survived = False
    for kill_at in range(1, 200, 6):
        path = tmp_path / f"store{kill_at}"
        child = FORK.Process(target=_write_until_killed, args=(path, kill_at))
        child.start()
        child.join()
        survived = child.exitcode == 0
        assert survived or child.exitcode == -signal.SIGKILL
        if (path / "COMPLETE.json").exists():
            ActivationStore(path)
        else:
            with pytest.raises(StoreIncomplete):
                ActivationStore(path)
            _write_missing(path)
        assert tree(path) == reference
        if survived:
            break
    assert survived  # the kills covered all of the writing


def test_every_file_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    flushed, named = set(), []
    real_replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: flushed.add(os.readlink(f"/proc/self/fd/{fd}")))

    def replace(source, target):
        if not str(source).endswith(".partial"):  # zarr-python's own; hierarchy.py flushes those
            assert str(source) in flushed
            named.append(target)
        real_replace(source, target)

    monkeypatch.setattr(os, "replace", replace)
    made = write_store(tmp_path / "store")
    assert len(named) == 1 + 3 * (2 + 1) + 1  # spec.json, 3 ranges, COMPLETE.json
    durable = {re.sub(r"\.tmp/acts\.zarr[^/]*", "acts.zarr", path) for path in flushed}
    assert {str(path) for path in made.path.rglob("*") if path.is_dir()} <= durable
    assert {str(path) for path in made.path.rglob("zarr.json")} <= durable


def test_complete_json_records_the_spec_and_no_times(made):
    document = json.loads((made.path / "COMPLETE.json").read_text())
    assert document["spec"] == SPEC and document["fingerprints"] == {}
    assert document["n_images"] == 21 and document["n_ranges"] == 3
    assert document["nbytes"] == made.layout.nbytes
    assert document["extra"] == {}

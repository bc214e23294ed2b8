"""Many writers and sudden deaths: damage of a store is detected, reported and redone."""

import errno
import multiprocessing
import os
import random
import resource
import signal
import time

import numpy as np
import pytest
from store_samples import LAYOUT, open_writer, tree, values_of, write_ranges, write_store

from clip_sae.store import (
    ActivationStore,
    StoreDamaged,
    StoreIncomplete,
    StoreLayout,
    StoreNotWritten,
    verify_store,
)

FORK = multiprocessing.get_context("fork")
WIDE = StoreLayout(120, 3, 4, chunk_images=2, chunks_per_shard=3)  # 20 ranges


def finish(path, layout=LAYOUT):
    writer = open_writer(path, layout)
    write_ranges(writer, values_of(layout), writer.unfinished())
    writer.complete()


def _scatter(path, ranges):
    write_ranges(open_writer(path, WIDE), values_of(WIDE), ranges)


def test_processes_write_disjoint_ranges_and_one_gathers(tmp_path):
    reference = tree(write_store(tmp_path / "reference", WIDE).path)
    path = tmp_path / "store"
    children = [FORK.Process(target=_scatter, args=(path, range(i, 20, 4))) for i in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    with pytest.raises(StoreIncomplete, match=r"15 of 20 .* missing: 3, 7, 11, 15, 19"):
        open_writer(path, WIDE).complete()
    _scatter(path, range(3, 20, 4))
    finish(path, WIDE)
    assert tree(path) == reference


def test_the_gather_looks_into_every_file(tmp_path):
    writer = open_writer(tmp_path / "store")
    write_ranges(writer, values_of(LAYOUT))
    shard = tmp_path / "store" / "acts.zarr" / LAYOUT.arrays["cls"].shard_file(2)
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    shard.write_bytes(bytes(len(shard.read_bytes())))
    with pytest.raises(StoreDamaged, match="cls/c/2/0.*damaged chunk index"):
        writer.complete()
    assert not (tmp_path / "store" / "COMPLETE.json").exists()


def test_kill_nine_at_random_moments_then_the_same_bytes(tmp_path):
    """Kill by the clock, unlike the kills at every change of the disk in test_store_writer.py."""
    reference = tree(write_store(tmp_path / "reference", WIDE).path)
    moments = random.Random(0)
    path, kills = tmp_path / "store", 0
    for _ in range(8):
        child = FORK.Process(target=finish, args=(path, WIDE))
        child.start()
        time.sleep(moments.uniform(0.002, 0.04))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        kills += child.exitcode == -signal.SIGKILL
        if (path / "COMPLETE.json").exists():
            assert tree(path) == reference
            break
        with pytest.raises(StoreIncomplete):
            ActivationStore(path)
    finish(path, WIDE)
    assert kills and tree(path) == reference


def _with_small_files(path, limit, connection):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        finish(path)
        connection.send("written")
    except StoreNotWritten as error:
        connection.send(str(error))


@pytest.mark.parametrize("limit", [100, 200, 650])
def test_a_limit_on_files_stops_the_writer_and_leaves_nothing_wrong(tmp_path, limit):
    path = tmp_path / "store"
    reference = tree(write_store(tmp_path / "reference").path)
    open_writer(path)  # its metadata are larger than the limits
    ours, theirs = FORK.Pipe()
    child = FORK.Process(target=_with_small_files, args=(path, limit, theirs))
    child.start()
    message = ours.recv()
    child.join()
    assert str(path) in message and "File too large" in message and "finished ranges" in message
    assert not [*(path / ".tmp").iterdir()]
    with pytest.raises(StoreIncomplete):
        ActivationStore(path)
    finish(path)
    assert tree(path) == reference


@pytest.mark.parametrize("call", ["writev", "fsync"])
@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_full_disk_keeps_the_finished_ranges(tmp_path, monkeypatch, call, at):
    path, calls = tmp_path / "store", [0]
    reference = tree(write_store(tmp_path / "reference").path)
    writer = open_writer(path)
    write_ranges(writer, values_of(LAYOUT), [0])
    real = getattr(os, call)

    def full(*arguments):
        calls[0] += 1
        if calls[0] > at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StoreNotWritten, match=r"cannot be written \(No space left on device\)"):
            write_ranges(writer, values_of(LAYOUT), [1])
    assert writer.unfinished() in ([1, 2], [2])
    assert not [*(path / ".tmp").iterdir()]
    finish(path)
    assert tree(path) == reference


def test_a_read_error_is_named_and_the_range_can_be_redone(made, monkeypatch):
    before = tree(made.path)
    bad = str(made.path / "acts.zarr" / LAYOUT.arrays["patch"].shard_file(1))
    real = os.preadv

    def failing(descriptor, buffers, offset):
        if os.readlink(f"/proc/self/fd/{descriptor}") == bad and 50 < offset < 100:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, buffers, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", failing)
        message = r"patch/c/1/0/0: chunk 1 of range 1 \(image rows 10 to 11\) cannot be read"
        for verify in (True, False):
            with pytest.raises(StoreDamaged, match=message):
                ActivationStore(made.path, verify=verify).read(8, 16)
        report = verify_store(made.path, repair=True)
        assert [(d.range, d.chunk) for d in report.damages] == [(1, 1)]
    finish(made.path)
    assert tree(made.path) == before


def files_with_content(made):
    """Return one file of every kind with its range (None: the whole store)."""
    acts = made.path / "acts.zarr"
    return {
        "chunk of patch": (acts / LAYOUT.arrays["patch"].shard_file(1), 70, 1),
        "crc32c of a chunk": (acts / LAYOUT.arrays["patch"].shard_file(1), 49, 1),
        "chunk of cls": (acts / LAYOUT.arrays["cls"].shard_file(2), 3, 2),
        "index": (acts / LAYOUT.arrays["cls"].shard_file(0), -30, 0),
        "part": (made.path / "parts" / "00001.json", 20, 1),
        "COMPLETE.json": (made.path / "COMPLETE.json", 3, None),
        "spec.json": (made.path / "spec.json", 3, None),
        "group": (acts / "zarr.json", 3, None),
        "array": (acts / "patch" / "zarr.json", 3, None),
        "source_index": (acts / "source_index" / "c" / "0", 3, None),
    }


KINDS = 10


@pytest.mark.parametrize("which", range(KINDS))
def test_a_flipped_bit_in_any_kind_of_file_is_found_and_named(made, which):
    kinds = files_with_content(made)
    assert len(kinds) == KINDS
    file, position, k = [*kinds.values()][which]
    rng = random.Random(which)
    data = bytearray(file.read_bytes())
    data[position] ^= 1 << rng.randrange(7)
    file.write_bytes(data)
    report = verify_store(made.path)
    assert not report.ok and str(file) in str(report)
    assert {damage.range for damage in report.damages} == {k}
    try:
        got = ActivationStore(made.path).read(0, 21)
    except ValueError:  # StoreDamaged, or a mismatch of spec
        return
    np.testing.assert_array_equal(got, made.tokens)  # e.g. a part file: readers get no wrong value


@pytest.mark.parametrize("size", [0, 1, 50, 275])
def test_truncated_shards_are_named_and_only_their_range_redone(made, size):
    before = tree(made.path)
    shard = made.path / "acts.zarr" / LAYOUT.arrays["patch"].shard_file(1)
    os.truncate(shard, size)
    inode = (made.path / "acts.zarr" / LAYOUT.arrays["patch"].shard_file(0)).stat().st_ino
    with pytest.raises(StoreDamaged, match=f"patch/c/1/0/0: range 1 .* has {size} bytes instead"):
        ActivationStore(made.path).read(8, 9)
    report = verify_store(made.path, repair=True)
    assert report.repaired == [1] and open_writer(made.path).unfinished() == [1]
    finish(made.path)
    assert tree(made.path) == before
    assert (made.path / "acts.zarr" / LAYOUT.arrays["patch"].shard_file(0)).stat().st_ino == inode

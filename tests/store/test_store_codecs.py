"""Compressed stores: same values, readable by any Zarr library, damage reported and redone."""

import multiprocessing
import signal

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import open_writer, tree, values_of, write_ranges, write_store

from clip_sae.store import (
    ActivationStore,
    StoreDamaged,
    StoreLayout,
    TokenStream,
    to_float32,
    verify_store,
)
from clip_sae.store.codecs import CODECS

FORK = multiprocessing.get_context("fork")


def packed(dtype="float16", compression="lz4", n_images=21, n_prompts=0):
    return StoreLayout(n_images, 3, 16, dtype, 2, 4, n_prompts, compression)


def shard(made, array, k):
    return made.path / "acts.zarr" / made.layout.arrays[array].shard_file(k)


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_plain_zarr_and_the_reader_give_the_values_written(tmp_path, dtype, compression):
    made = write_store(tmp_path / "store", packed(dtype, compression, n_prompts=2))
    group = zarr.open_group(made.path / "acts.zarr", mode="r")
    store = ActivationStore(made.path)
    assert store.layout == made.layout and store.layout.compression == compression
    for name, array in made.layout.arrays.items():
        np.testing.assert_array_equal(to_float32(group[name][:]), made.arrays[name])
        got = store.read_array(name, 3, 20)
        np.testing.assert_array_equal(to_float32(got), made.arrays[name][3:20])
        names = [codec["name"] for codec in group[name].metadata.to_dict()["codecs"]]
        assert names == ["sharding_indexed"] and group[name].shards[0] == 8
        assert array.compression == compression


@pytest.mark.parametrize("compression", CODECS)
def test_what_zarr_python_writes_with_the_same_codecs_is_read(tmp_path, compression):
    """Compare values only: a library may choose other bytes for the same data."""
    made = write_store(tmp_path / "store", packed(compression=compression))
    group = zarr.open_group(made.path / "acts.zarr", mode="r+")
    group["patch"][:8] = group["patch"][:8] * 2
    with pytest.raises(StoreDamaged, match="not the chunk that the part file records"):
        ActivationStore(made.path).read(0, 8, "patch")
    store = ActivationStore(made.path, verify=False)
    np.testing.assert_array_equal(store.read(0, 8, "patch"), 2 * made.arrays["patch"][:8])


def test_smooth_values_are_stored_in_fewer_bytes_and_recorded_so(tmp_path):
    layout = StoreLayout(40, 16, 64, chunk_images=8, chunks_per_shard=2, compression="zstd")
    arrays = {n: np.zeros((40, *a.row_shape), np.float32) for n, a in layout.arrays.items()}
    writer = open_writer(tmp_path / "store", layout)
    write_ranges(writer, arrays)
    writer.complete()
    files = [*(tmp_path / "store" / "acts.zarr").glob("[pc]*/c/**/0")]
    size = sum(f.stat().st_size for f in files if f.is_file())
    assert size < layout.nbytes / 10
    assert f'"nbytes":{size}' in (tmp_path / "store" / "COMPLETE.json").read_text()
    assert not ActivationStore(tmp_path / "store").read(0, 40).any()


@settings(deadline=None, max_examples=20)
@given(
    n_images=st.integers(1, 30),
    chunk_images=st.integers(1, 5),
    chunks_per_shard=st.integers(1, 4),
    verify=st.booleans(),
    data=st.data(),
)
def test_every_slice(tmp_path_factory, n_images, chunk_images, chunks_per_shard, verify, data):
    layout = StoreLayout(n_images, 2, 8, "float16", chunk_images, chunks_per_shard, 0, "lz4")
    made = write_store(tmp_path_factory.mktemp("packed") / "store", layout)
    store = ActivationStore(made.path, verify=verify)
    for _ in range(3):
        start = data.draw(st.integers(0, n_images))
        stop = data.draw(st.integers(start, n_images))
        np.testing.assert_array_equal(store.read(start, stop), made.tokens[start:stop])


def test_training_reads_it_like_any_other(tmp_path):
    plain = write_store(tmp_path / "plain", packed(compression="none"))
    small = write_store(tmp_path / "packed", packed())
    options = dict(batch_tokens=10, seed=1, buffer_images=8, threads=2)
    streams = [TokenStream(ActivationStore(made.path), **options) for made in (plain, small)]
    for a, b in zip(*(stream.epoch(0) for stream in streams), strict=True):
        np.testing.assert_array_equal(a, b)


def flip(position):
    def damage(file):
        data = bytearray(file.read_bytes())
        data[position] ^= 0x10
        file.write_bytes(data)

    return damage


DAMAGES = {
    "flipped in chunk 0": (flip(30), "does not match its checksum", 0),
    "flipped header": (flip(5), "does not match its checksum", 0),
    "flipped index": (flip(-20), "cut short, or has a damaged chunk index", None),
    "truncated": (lambda f: f.write_bytes(f.read_bytes()[:-7]), "cut short", None),
    "appended": (lambda f: f.write_bytes(f.read_bytes() + b"\0"), "damaged chunk index", None),
    "front lost": (lambda f: f.write_bytes(f.read_bytes()[9:]), "bytes instead of", None),
    "empty": (lambda f: f.write_bytes(b""), "its index alone has", None),
    "missing": (lambda f: f.unlink(), "is missing", None),
}


@pytest.mark.parametrize("damage,problem,chunk", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_named_never_served_and_repaired(tmp_path, damage, problem, chunk):
    made = write_store(tmp_path / "store", packed())
    before = tree(made.path)
    file = shard(made, "patch", 1)
    damage(file)
    with pytest.raises(StoreDamaged, match=f"patch/c/1/0/0.*{problem}"):
        ActivationStore(made.path).read(8, 16)
    np.testing.assert_array_equal(ActivationStore(made.path).read(0, 8), made.tokens[:8])
    report = verify_store(made.path, repair=True)
    assert [(d.file, d.range, d.chunk) for d in report.damages] == [(file, 1, chunk)]
    assert problem in str(report) and report.repaired == [1]
    writer = open_writer(made.path, made.layout)
    assert writer.unfinished() == [1]
    write_ranges(writer, made.arrays, [1])
    writer.complete()
    assert tree(made.path) == before


@pytest.mark.parametrize("position", [5, 13, 40])
def test_unchecked_damage_raises_or_stays_within_its_buffers(tmp_path, position):
    """Blosc trusts the sizes in its header, so the store compares them first."""
    made = write_store(tmp_path / "store", packed())
    flip(position)(shard(made, "patch", 0))
    store = ActivationStore(made.path, verify=False)
    if position < 16:
        with pytest.raises(StoreDamaged, match="cannot be decompressed: its Blosc header"):
            store.read(0, 2)
    np.testing.assert_array_equal(store.read(2, 8), made.tokens[2:8])


def _write_and_die(path, puts):
    writer = open_writer(path, packed())
    arrays = values_of(packed())
    with writer.range(0) as part:
        part.put(arrays["cls"][:puts], arrays["patch"][:puts])
        signal.raise_signal(signal.SIGKILL)


def test_killed_and_run_again_gives_the_same_bytes(tmp_path):
    reference = tree(write_store(tmp_path / "reference", packed()).path)
    path = tmp_path / "store"
    for puts in (1, 5, 8):
        child = FORK.Process(target=_write_and_die, args=(path, puts))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    writer = open_writer(path, packed())
    assert writer.unfinished() == [0, 1, 2]
    write_ranges(writer, values_of(packed()))
    writer.complete()
    assert tree(path) == reference


def test_an_unknown_compression_is_refused():
    with pytest.raises(ValueError, match=r"compression 'gzip' is not known; .*'zstd-high'"):
        packed(compression="gzip")

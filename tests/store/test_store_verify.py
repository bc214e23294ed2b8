"""Damage is located down to the chunk, and a repair redoes only the damaged ranges."""

import json
import shutil

import numpy as np
import pytest
from store_samples import open_writer, tree, write_ranges, write_store

from clip_sae.store import (
    StoreDamaged,
    StoreError,
    StoreIncomplete,
    StoreMismatch,
    verify_store,
)
from clip_sae.store.files import SEAL, canonical_json, sealed
from clip_sae.store.reader import ActivationStore


def shard(made, array, k):
    return made.path / "acts.zarr" / made.layout.arrays[array].shard_file(k)


def flip(file, position):
    data = bytearray(file.read_bytes())
    data[position] ^= 0x10
    file.write_bytes(data)


def test_a_whole_store_is_ok(made):
    report = verify_store(made.path)
    assert report.ok and report.complete and not report.unfinished
    chunks = {
        name: array.n_chunks * array.chunk_bytes for name, array in made.layout.arrays.items()
    }
    assert report.bytes_read == sum(chunks.values())
    assert verify_store(made.path, full=False).bytes_read == 0
    assert "3 ranges (complete)" in str(report)


def test_every_damage_is_named_and_repaired(made):
    before = tree(made.path)
    flip(shard(made, "patch", 1), 70)  # chunk 1
    flip(shard(made, "cls", 1), -1)  # the crc32c of the index
    shard(made, "cls", 2).unlink()
    fast = verify_store(made.path, full=False)
    assert [d.file for d in fast.damages] == [shard(made, "cls", 1), shard(made, "cls", 2)]
    report = verify_store(made.path, repair=True)
    assert [(d.range, d.chunk, d.images, d.problem) for d in report.damages] == [
        (1, 1, "image rows 10 to 11", "does not match its checksum (crc32c)"),
        (1, None, "image rows 8 to 15", "has a damaged chunk index"),
        (2, None, "image rows 16 to 20", "is missing"),
    ]
    assert report.repaired == [1, 2]
    assert "patch/c/1/0/0 (range 1, chunk 1, image rows 10 to 11)" in str(report)
    with pytest.raises(StoreIncomplete, match=r"1 of 3 ranges are written \(missing: 1-2\)"):
        ActivationStore(made.path)
    writer = open_writer(made.path)
    assert writer.unfinished() == [1, 2]
    write_ranges(writer, made.arrays, writer.unfinished())
    writer.complete()
    assert tree(made.path) == before
    assert verify_store(made.path).ok


def test_a_bit_in_the_gap_behind_a_chunk_is_found(made):
    flip(shard(made, "patch", 0), 60)  # the data end at 48, their crc32c at 52
    (damage,) = verify_store(made.path).damages
    assert (damage.range, damage.chunk) == (0, 0) and "checksum" in damage.problem


def test_the_version_of_a_store_is_proven_by_its_seal(made):
    group = made.path / "acts.zarr" / "zarr.json"
    whole = group.read_text()
    group.write_text(whole.replace('"store_version": 2', '"store_version": 1'))
    report = verify_store(made.path, repair=True)
    assert "has store_version 1" in str(report) and report.restored == [group]
    assert verify_store(made.path).ok
    group.write_text(whole.replace('"store_version": 2', '"store_version": 9'))
    with pytest.raises(StoreDamaged, match=r"store_version 9; this clip_sae reads .*\[1, 2\]"):
        ActivationStore(made.path)


def test_a_chunk_of_another_range_is_found(made):
    shutil.copy(shard(made, "patch", 0), shard(made, "patch", 1))
    assert verify_store(made.path, full=False).ok  # sizes and index agree
    problems = {d.problem for d in verify_store(made.path).damages}
    assert problems == {"is whole, but not the chunk that the part file records"}


def test_a_changed_part_file_is_found(made):
    part = made.path / "parts" / "00002.json"
    text = part.read_text()
    part.write_text(text.replace('"part":2', '"part":1'))
    report = verify_store(made.path, repair=True)
    assert "does not match the digest of its content" in str(report) and report.repaired == [2]
    assert not part.exists()


def test_a_whole_part_file_of_another_range_is_found(made):
    parts = made.path / "parts"
    shutil.copy(parts / "00001.json", parts / "00002.json")
    assert "part is 1 instead of 2" in str(verify_store(made.path))


def test_a_changed_sum_of_an_unfinished_store_is_not_sealed_with_it(tmp_path):
    """Before COMPLETE.json exists, only the part file holds its sums."""
    reference = write_store(tmp_path / "reference")
    writer = open_writer(tmp_path / "store")
    write_ranges(writer, reference.arrays, writer.unfinished())
    part = tmp_path / "store" / "parts" / "00001.json"
    document = json.loads(part.read_text())
    document["stats"]["patch"]["absmax"] += 1
    part.write_text(json.dumps(document))
    with pytest.raises(StoreIncomplete, match="missing: 1"):
        writer.complete()


def test_shards_that_changed_places_are_not_served(made):
    """Swapped files pass their own checksums; the part files record where chunks belong."""
    one, other = shard(made, "patch", 0), shard(made, "patch", 1)
    swapped = one.read_bytes(), other.read_bytes()
    other.write_bytes(swapped[0])
    one.write_bytes(swapped[1])
    with pytest.raises(StoreDamaged, match="not the chunk that the part file records"):
        ActivationStore(made.path).read(0, 1, "patch")


def test_an_unfinished_store_is_ok_but_not_complete(tmp_path):
    reference = write_store(tmp_path / "reference")
    write_ranges(open_writer(tmp_path / "store"), reference.arrays, [1])
    report = verify_store(tmp_path / "store")
    assert report.ok and not report.complete and report.unfinished == [0, 2]


def test_complete_of_other_parts_is_found(made):
    complete = made.path / "COMPLETE.json"
    document = json.loads(complete.read_text())
    del document[SEAL]
    complete.write_bytes(canonical_json(sealed(document | {"parts_sha256": "0"})))
    report = verify_store(made.path, repair=True)
    assert "does not match the part files" in str(report) and not complete.exists()
    assert open_writer(made.path).unfinished() == []


def test_a_spec_changed_by_hand_is_found(made):
    spec = made.path / "spec.json"
    spec.write_text(spec.read_text().replace('"layer":5', '"layer":6'))
    assert "spec.json does not match" in str(verify_store(made.path))
    with pytest.raises(ValueError, match="has another spec than spec.json"):
        ActivationStore(made.path)
    with pytest.raises(StoreMismatch, match=r"layer \(6 there, 5 here\)"):
        open_writer(made.path)


def test_no_store_there(tmp_path):
    with pytest.raises(StoreError, match="holds no activation store: there is no spec.json"):
        verify_store(tmp_path)


def test_values_survive_a_repair_run(made):
    flip(shard(made, "patch", 0), 3)
    verify_store(made.path, repair=True)
    writer = open_writer(made.path)
    write_ranges(writer, made.arrays, writer.unfinished())
    writer.complete()
    np.testing.assert_array_equal(ActivationStore(made.path).read(0, 21), made.tokens)


def test_a_complete_json_from_before_the_seal_is_read(made):
    complete = made.path / "COMPLETE.json"
    document = json.loads(complete.read_text())
    del document[SEAL]
    complete.write_bytes(canonical_json(document))
    assert verify_store(made.path).ok
    assert ActivationStore(made.path).stats["cls"].count == 21
    complete.write_bytes(canonical_json(document | {"extra_": 1}))
    with pytest.raises(ValueError, match="COMPLETE.json does not match the digest of its content"):
        ActivationStore(made.path)

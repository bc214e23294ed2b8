"""Damaged metadata are reported and rewritten, and whole ranges are kept."""

import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import LAYOUT, open_writer, tree, write_ranges, write_store

from clip_sae.store import (
    ActivationStore,
    StoreDamaged,
    StoreIncomplete,
    StoreMismatch,
    verify_store,
)

INPUTS = {"weights": "1"}
FILES = ["patch/zarr.json", "cls/zarr.json", "source_index/zarr.json", "source_index/c/0"]
DAMAGES = {
    "cut": lambda f: f.write_bytes(f.read_bytes()[:40]),
    "flipped": lambda f: f.write_bytes(bytes([f.read_bytes()[0] ^ 1]) + f.read_bytes()[1:]),
    "empty": lambda f: f.write_bytes(b""),
    "missing": lambda f: f.unlink(),
}


@pytest.fixture
def made(tmp_path):
    return write_store(tmp_path / "store", fingerprints=INPUTS)


def finish(writer, made):
    write_ranges(writer, made.arrays, writer.unfinished())
    writer.complete()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("name", FILES)
def test_the_next_run_mends_it_and_keeps_the_ranges(made, name, damage):
    before = tree(made.path)
    damage(made.path / "acts.zarr" / name)
    with pytest.raises(StoreDamaged, match=name):
        ActivationStore(made.path)
    report = verify_store(made.path)
    assert name in str(report) and "`--repair` lets the next run" in str(report)
    report = verify_store(made.path, repair=True)
    assert not report.ok and "keeps every range" in str(report)
    with pytest.raises((StoreIncomplete, StoreDamaged)):
        ActivationStore(made.path)
    writer = open_writer(made.path, fingerprints=INPUTS)
    assert writer.unfinished() == []
    finish(writer, made)
    assert tree(made.path) == before and verify_store(made.path).ok


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_flipped_bit_of_metadata_is_named_or_says_the_same(made, data):
    """No other error escapes, whatever size or name the flipped bit makes."""
    name = data.draw(st.sampled_from(["zarr.json", *(f for f in FILES if f.endswith(".json"))]))
    path = made.path / "acts.zarr" / name
    before = path.read_bytes()
    flipped = bytearray(before)
    flipped[data.draw(st.integers(0, len(before) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    try:
        report = verify_store(made.path)
        if report.ok:
            found, expected = json.loads(flipped), json.loads(before)
            if name == "zarr.json":  # provenance, which decides no value
                found, expected = (
                    {**d, "attributes": d["attributes"]["spec"]} for d in (found, expected)
                )
            assert found == expected
        else:
            assert name in str(report)
    finally:
        path.write_bytes(before)


def test_ranges_that_do_not_match_their_part_files_are_redone(made):
    before = tree(made.path)
    (made.path / "acts.zarr" / "cls" / "zarr.json").unlink()
    shard = made.path / "acts.zarr" / LAYOUT.arrays["patch"].shard_file(1)
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    verify_store(made.path, repair=True)
    writer = open_writer(made.path, fingerprints=INPUTS)
    assert writer.unfinished() == [1]
    finish(writer, made)
    assert tree(made.path) == before


def test_nothing_is_mended_where_the_inputs_are_not_known_to_be_the_same(tmp_path, made):
    unknown = write_store(tmp_path / "unknown")
    for store, fingerprints in ((unknown, INPUTS), (made, {"weights": "2"}), (made, None)):
        file = store.path / "acts.zarr" / "source_index" / "c" / "0"
        file.write_bytes(b"")
        with pytest.raises((StoreDamaged, StoreMismatch)):
            open_writer(store.path, fingerprints=fingerprints)
        assert file.read_bytes() == b""
    assert "Delete the store" in str(verify_store(unknown.path, repair=True))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_the_groups_own_are_restored_from_complete_json(made, damage):
    file = made.path / "acts.zarr" / "zarr.json"
    damage(file)
    with pytest.raises(StoreDamaged, match="acts.zarr/zarr.json"):
        ActivationStore(made.path)
    with pytest.raises(StoreDamaged, match=r"acts.zarr/zarr.json.*verify --repair.*COMPLETE.json"):
        open_writer(made.path, fingerprints=INPUTS)
    assert "`--repair` writes it again" in str(verify_store(made.path))
    report = verify_store(made.path, repair=True)
    assert (
        report.restored == [file] and report.repaired == [] and "again from COMPLETE" in str(report)
    )
    assert verify_store(made.path).ok
    store = ActivationStore(made.path)
    np.testing.assert_array_equal(store.read(0, 21), made.tokens)
    assert store.fingerprints == INPUTS


def test_without_complete_json_the_groups_own_are_lost(made):
    (made.path / "acts.zarr" / "zarr.json").write_bytes(b"{}")
    (made.path / "COMPLETE.json").unlink()
    report = verify_store(made.path, repair=True)
    assert "zarr.json" in str(report) and "Delete the store" in str(report)
    assert not report.restored


def test_a_rebuild_that_died_while_deleting_is_swept(tmp_path, made):
    aside = tmp_path / ".store.0123abcd.old"
    (aside / "acts.zarr").mkdir(parents=True)
    (aside / "spec.json").write_text("{}")
    other = tmp_path / ".store2.0123abcd.old"
    other.mkdir()
    open_writer(made.path, fingerprints=INPUTS)
    assert sorted(os.listdir(tmp_path)) == [".store2.0123abcd.old", "store"]
    assert verify_store(made.path).ok


def test_damaged_metadata_of_other_inputs_do_not_keep_a_rebuild_away(made):
    (made.path / "acts.zarr" / "cls" / "zarr.json").unlink()
    writer = open_writer(made.path, fingerprints={"weights": "2"}, rebuild=True)
    assert writer.unfinished() == [0, 1, 2] and writer.fingerprints == {"weights": "2"}

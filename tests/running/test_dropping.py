"""Deletion of stores: a half-deleted store does not count; the next try deletes the rest."""

import shutil

import pytest

from clip_sae.planning import dropping
from clip_sae.planning.dropping import drop_store, dropped_below, is_on_disk, marker_of

STORE = "results/activations/demo/general-train/resid_post-L00-abc"


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / STORE
    (folder / "acts.zarr").mkdir(parents=True)
    (folder / "acts.zarr/zarr.json").write_text("{}")
    (folder / "COMPLETE.json").write_text('{"n": 1}')
    return folder


def test_the_folder_is_gone_and_its_bytes_are_counted(store):
    assert is_on_disk(store)
    assert drop_store(store) == 2  # COMPLETE.json was deleted first
    assert not is_on_disk(store) and not list(store.parent.iterdir())
    assert drop_store(store) == 0  # again: nothing to do


def test_a_kill_while_files_go_leaves_no_store_and_the_next_call_finishes(store, monkeypatch):
    def killed(folder):
        (folder / "acts.zarr/zarr.json").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(dropping.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        drop_store(store)
    assert not store.exists() and is_on_disk(store)
    assert not list(store.parent.rglob("COMPLETE.json"))
    monkeypatch.undo()
    drop_store(store)
    assert not is_on_disk(store)


def test_a_store_extracted_again_beside_a_killed_deletion_goes_too(store):
    shutil.copytree(store, store.with_name(store.name + ".dropping"))
    drop_store(store)
    assert not list(store.parent.iterdir())


def test_records_lie_outside_the_stores_and_are_found_from_there(tmp_path):
    marker = marker_of(f"{STORE}/COMPLETE.json", "results")
    assert marker == "results/dropped/demo/general-train/resid_post-L00-abc.json"
    (tmp_path / marker).parent.mkdir(parents=True)
    (tmp_path / marker).write_text("{}")
    for asked in ("results", "results/activations", "results/activations/demo", STORE):
        assert dropped_below(tmp_path / asked) == [tmp_path / marker], asked
    assert dropped_below(tmp_path / "results/activations/other") == []

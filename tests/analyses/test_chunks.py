"""Chunks on disk: read back exactly; made again if outdated, torn or missing."""

import numpy as np
import pytest

from clip_sae.analyses.shared.chunks import Chunks

VALUES = {"x": np.array([0.1, np.nan, np.inf]), "words": np.array(["a|b", "ö"]), "n": np.array(3)}


def make(calls):
    calls.append(1)
    return VALUES


def test_a_chunk_is_made_once_and_read_back_to_the_bit(tmp_path):
    calls = []
    first = Chunks(tmp_path / "chunks", {"data": "a"}).get("k", lambda: make(calls))
    again = Chunks(tmp_path / "chunks", {"data": "a"}).get("k", lambda: make(calls))
    assert len(calls) == 1
    for found in (first, again):
        assert found.keys() == VALUES.keys()
        for name, values in VALUES.items():
            np.testing.assert_array_equal(found[name], values)
            assert found[name].dtype == values.dtype


@pytest.mark.parametrize("harm", ["other data", "torn", "empty", "missing"])
def test_an_unreadable_or_outdated_chunk_is_made_again(tmp_path, harm):
    calls, chunks = [], Chunks(tmp_path, {"data": "a"})
    chunks.get("k", lambda: make(calls))
    path = tmp_path / "k.npz"
    if harm == "other data":
        chunks = Chunks(tmp_path, {"data": "b"})
    elif harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 40 if harm == "torn" else 0])
    chunks.get("k", lambda: make(calls))
    chunks.get("k", lambda: make(calls))
    assert len(calls) == 2


def test_a_chunk_with_any_bit_changed_is_made_again_or_still_right(tmp_path):
    calls, chunks = [], Chunks(tmp_path, {"data": "a"})
    chunks.get("k", lambda: make(calls))
    path = tmp_path / "k.npz"
    whole = path.read_bytes()
    for byte in range(len(whole)):
        path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 1]) + whole[byte + 1 :])
        found = chunks.get("k", lambda: make(calls))
        for name, values in VALUES.items():
            np.testing.assert_array_equal(found[name], values)
    assert len(calls) > len(whole) / 2


def test_without_a_folder_nothing_is_kept_and_clear_leaves_nothing(tmp_path):
    calls, chunks = [], Chunks()
    for _ in range(2):
        chunks.get("k", lambda: make(calls))
    assert len(calls) == 2
    kept = Chunks(tmp_path / "chunks", 0)
    kept.get("k", lambda: make(calls))
    (tmp_path / "chunks/.k.npz.a1b2.tmp").write_bytes(b"left by a killed writer")
    kept.clear()
    assert not (tmp_path / "chunks").exists()
    kept.clear()

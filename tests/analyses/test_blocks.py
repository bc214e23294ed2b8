"""Blocks on disk: read back exactly, made again when of something else, torn or not there."""

import numpy as np
import pytest

from clip_sae.analyses.shared.blocks import Blocks

VALUES = {"x": np.array([0.1, np.nan, np.inf]), "words": np.array(["a|b", "ö"]), "n": np.array(3)}


def make(calls):
    calls.append(1)
    return VALUES


def test_a_block_is_made_once_and_read_back_to_the_bit(tmp_path):
    calls = []
    first = Blocks(tmp_path / "blocks", {"data": "a"}).get("k", lambda: make(calls))
    again = Blocks(tmp_path / "blocks", {"data": "a"}).get("k", lambda: make(calls))
    assert len(calls) == 1
    for found in (first, again):
        assert found.keys() == VALUES.keys()
        for name, values in VALUES.items():
            np.testing.assert_array_equal(found[name], values)
            assert found[name].dtype == values.dtype


@pytest.mark.parametrize("harm", ["other data", "torn", "empty", "gone"])
def test_what_cannot_be_trusted_is_made_again(tmp_path, harm):
    calls, blocks = [], Blocks(tmp_path, {"data": "a"})
    blocks.get("k", lambda: make(calls))
    path = tmp_path / "k.npz"
    if harm == "other data":
        blocks = Blocks(tmp_path, {"data": "b"})
    elif harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 40 if harm == "torn" else 0])
    blocks.get("k", lambda: make(calls))
    blocks.get("k", lambda: make(calls))
    assert len(calls) == 2


def test_a_block_with_any_bit_changed_is_made_again_or_still_right(tmp_path):
    calls, blocks = [], Blocks(tmp_path, {"data": "a"})
    blocks.get("k", lambda: make(calls))
    path = tmp_path / "k.npz"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = blocks.get("k", lambda: make(calls))
        for name, values in VALUES.items():
            np.testing.assert_array_equal(found[name], values)
    assert len(calls) > len(whole) / 2


def test_without_a_folder_nothing_is_kept_and_clear_leaves_nothing(tmp_path):
    calls, blocks = [], Blocks()
    for _ in range(2):
        blocks.get("k", lambda: make(calls))
    assert len(calls) == 2
    kept = Blocks(tmp_path / "blocks", 0)
    kept.get("k", lambda: make(calls))
    (tmp_path / "blocks/.k.npz.a1b2.tmp").write_bytes(b"left by a killed writer")
    kept.clear()
    assert not (tmp_path / "blocks").exists()
    kept.clear()

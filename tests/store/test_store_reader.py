"""Reading: every slice equals the written arrays; unfinished ranges are never returned."""

import numpy as np
import pytest
from store_samples import LAYOUT, open_writer, values_of, write_ranges, write_store

from clip_sae.store import ActivationStore, StoreDamaged, StoreError, StoreIncomplete, StoreLayout
from clip_sae.store import reader as reader_module


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("reading") / "store")


def expected(made, tokens):
    return {"all": made.tokens, "cls": made.tokens[:, :1], "patch": made.tokens[:, 1:]}[tokens]


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("tokens", ["all", "cls", "patch"])
def test_every_slice(made, tokens, verify):
    full = expected(made, tokens).astype(np.float16)
    store = ActivationStore(made.path, verify=verify)
    for start in range(0, 22):
        for stop in range(start, 22):
            np.testing.assert_array_equal(store.read(start, stop, tokens), full[start:stop])


def test_facts_of_the_store(made):
    store = ActivationStore(made.path)
    assert (store.n_images, store.n_patches, store.n_tokens, store.d_model) == (21, 3, 4, 4)
    assert store.dtype == "float16" and store.disk_dtype == np.float16
    assert store.fingerprints == {}
    assert store.spec["layer"] == 5
    np.testing.assert_array_equal(store.source_index, np.arange(21)[::-1])


def test_out_is_filled_and_checked(made):
    store = ActivationStore(made.path)
    out = np.empty((3, 4, 4), np.float16)
    assert store.read(2, 5, out=out) is out
    np.testing.assert_array_equal(out, made.tokens[2:5])
    with pytest.raises(StoreError, match=r"out is float32 .*C-contiguous float16 \[3, 4, 4\]"):
        store.read(2, 5, out=out.astype(np.float32))


def test_prompt_tokens_are_read_apart(tmp_path):
    layout = StoreLayout(9, 3, 4, chunk_images=2, chunks_per_shard=2, n_prompts=2)
    made = write_store(tmp_path / "store", layout)
    store = ActivationStore(made.path)
    np.testing.assert_array_equal(store.read(1, 8, "prompt"), made.arrays["prompt"][1:8])
    assert store.n_tokens == 4 and store.read(0, 9).shape == (9, 4, 4)


def test_few_files_are_open_at_a_time(made, monkeypatch):
    monkeypatch.setattr(reader_module, "MAX_OPEN_SHARDS", 1)
    store = ActivationStore(made.path)
    for _ in range(3):
        np.testing.assert_array_equal(store.read(0, 21), made.tokens)
    assert len(store._shards) == 1


def test_messages_for_wrong_requests(made):
    store = ActivationStore(made.path)
    with pytest.raises(StoreError, match="image rows 5 to 21 were requested; it has rows 0 to 20"):
        store.read(5, 22)
    with pytest.raises(StoreError, match="image rows -1 to 3"):
        store.read(-1, 4)
    with pytest.raises(StoreError, match=r"no tokens 'prompt'; choose one of \['all', 'cls', 'pat"):
        store.read(0, 1, "prompt")
    with pytest.raises(StoreIncomplete, match=r"holds no activation store. Stores in .*: store\."):
        ActivationStore(made.path.parent / "stor")


def test_an_unfinished_store_is_not_served(tmp_path):
    path = tmp_path / "store"
    writer = open_writer(path)
    with pytest.raises(StoreIncomplete, match="not finished: no range is written"):
        ActivationStore(path)
    write_ranges(writer, values_of(LAYOUT), [0, 2])
    with pytest.raises(StoreIncomplete, match=r"2 of 3 ranges are written \(missing: 1\).*again"):
        ActivationStore(path)


def test_missing_short_or_flipped_files_are_never_served(tmp_path):
    def shard(made):
        return made.path / "acts.zarr" / "patch" / "c" / "1" / "0" / "0"

    def flip(file, position):
        data = bytearray(file.read_bytes())
        data[position] ^= 1
        file.write_bytes(data)

    damages = {
        "is missing": lambda f: f.unlink(),
        "has 0 bytes instead of 324": lambda f: f.write_bytes(b""),
        "has 323 bytes": lambda f: f.write_bytes(f.read_bytes()[:-1]),
        "damaged chunk index": lambda f: flip(f, -9),
        r"chunk 2 of range 1 \(image rows 12 to 13\) does not match": lambda f: flip(f, 134),
    }
    for i, (message, damage) in enumerate(damages.items()):
        made = write_store(tmp_path / f"store{i}")
        damage(shard(made))
        store = ActivationStore(made.path)
        np.testing.assert_array_equal(store.read(0, 8), made.tokens[:8])  # range 0 is whole
        with pytest.raises(StoreDamaged, match=f"patch/c/1/0/0.*{message}.*verify --repair"):
            store.read(8, 16)


def test_a_chunk_is_checked_once_and_never_with_verify_off(tmp_path):
    made = write_store(tmp_path / "store")
    store = ActivationStore(made.path)
    store.read(0, 21)
    shard = made.path / "acts.zarr" / "cls" / "c" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(data)
    store.read(0, 2)
    ActivationStore(made.path, verify=False).read(0, 2)
    with pytest.raises(StoreDamaged):
        ActivationStore(made.path).read(0, 1)

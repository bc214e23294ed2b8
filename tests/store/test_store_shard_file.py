"""Chunks and indices equal those of zarr-python byte for byte; each reads the other's."""

from dataclasses import replace

import numpy as np
import pytest
import zarr
from store_samples import LAYOUT, tree, write_store
from zarr.codecs import Crc32cCodec

from clip_sae.store import ActivationStore, StoreLayout, to_float32

LAYOUTS = {
    "partial last chunk": LAYOUT,
    "whole": StoreLayout(16, 3, 4, chunk_images=2, chunks_per_shard=4),
    "one image": StoreLayout(1, 3, 4, chunk_images=2, chunks_per_shard=4),
    "prompts": StoreLayout(9, 3, 4, chunk_images=2, chunks_per_shard=2, n_prompts=2),
    "float32": StoreLayout(9, 3, 4, dtype="float32", chunk_images=2, chunks_per_shard=2),
    "bfloat16": StoreLayout(9, 3, 4, dtype="bfloat16", chunk_images=2, chunks_per_shard=2),
    "version 1": replace(LAYOUT, version=1),
}


def without_gaps(data, array, k):
    """Return our shard file as zarr-python packs it, without gaps."""
    packed = replace(array, align=1)
    n = array.shard_chunks(k)
    index = np.frombuffer(data[-array.index_bytes : -4], "<u8").reshape(-1, 2)[:n]
    ends = [*index[1:, 0], len(data) - array.index_bytes]
    gaps = b"".join(
        data[start + length : end] for (start, length), end in zip(index, ends, strict=True)
    )
    assert not gaps.strip(b"\0") and not (index[:, 0] % array.align).any()
    return b"".join(data[start : start + length] for start, length in index) + packed.index(k)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_zarr_python_writes_the_same_bytes_and_reads_ours(tmp_path, layout):
    made = write_store(tmp_path / "store", layout)
    group = zarr.open_group(made.path / "acts.zarr", mode="r")
    reference = zarr.create_group(tmp_path / "reference.zarr", zarr_format=3)
    for name, array in layout.arrays.items():
        ours = group[name]
        np.testing.assert_array_equal(to_float32(ours[:]), made.arrays[name])
        theirs = reference.create_array(
            name,
            shape=ours.shape,
            dtype=ours.dtype,
            chunks=ours.chunks,
            shards=ours.shards,
            filters=None,
            compressors=[Crc32cCodec()],
            fill_value=ours.fill_value,
            config={"write_empty_chunks": True},
        )
        theirs[:] = ours[:]
        files = tree(made.path / "acts.zarr" / name / "c")
        packed = {
            path: without_gaps(data, array, int(path.split("/")[0])) for path, data in files.items()
        }
        assert packed == tree(tmp_path / "reference.zarr" / name / "c")
        assert layout.version > 1 or packed == files
        assert {path: len(data) for path, data in files.items()} == {
            array.shard_file(k).removeprefix(f"{name}/c/"): array.shard_nbytes(k)
            for k in range(layout.n_ranges)
        }
        assert ours.metadata.dimension_names == array.dimension_names
    store = ActivationStore(made.path)
    assert store.layout == layout
    np.testing.assert_array_equal(to_float32(store.read(0, layout.n_images)), made.tokens)


def test_metadata_says_what_the_store_is(made):
    group = zarr.open_group(made.path / "acts.zarr", mode="r")
    assert group.attrs["spec"]["hook"] == "resid_post"
    assert sorted(group.array_keys()) == ["cls", "patch", "source_index"]
    np.testing.assert_array_equal(group["source_index"][:], np.arange(21)[::-1])
    assert np.isnan(group["patch"].fill_value)  # a hole is visible


def test_bfloat16_is_marked(tmp_path):
    made = write_store(tmp_path / "store", LAYOUTS["bfloat16"])
    patch = zarr.open_group(made.path / "acts.zarr", mode="r")["patch"]
    assert patch.attrs["torch_dtype"] == "bfloat16" and patch.dtype == np.uint16
    store = ActivationStore(made.path)
    assert store.dtype == "bfloat16"
    np.testing.assert_array_equal(to_float32(store.read(0, 9)), made.tokens)


def test_another_layout_of_the_file_is_refused(made):
    metadata = made.path / "acts.zarr" / "cls" / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"end"', '"start"'))
    with pytest.raises(ValueError, match=r"cls/zarr.json: codecs is .*this reader needs"):
        ActivationStore(made.path)

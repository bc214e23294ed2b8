"""The Zarr v3 group around the shard files: its metadata, and the row -> manifest row index.

zarr-python writes the metadata, so that any Zarr library opens `acts.zarr`; reading compares it
with the one layout that the direct reader understands. No equation of the paper.
"""

import json
import os
import shutil
from pathlib import Path

import google_crc32c
import numpy as np

from .errors import StoreDamaged
from .files import ACTS, TEMPORARY, read_json, sync, temporary_path
from .layout import CRC_BYTES, DISK_DTYPES, FILL_VALUES, ArrayLayout, StoreLayout

SOURCE_INDEX = "source_index"
NO_SOURCE = -1  # fill of source_index: a row without a manifest row is damage


def create_hierarchy(
    store: Path, layout: StoreLayout, attributes: dict, source_index: np.ndarray
) -> bool:
    """Make `acts.zarr` under a temporary name and rename it; False if another process was first."""
    import zarr  # here, so that readers do not wait for it
    from zarr.codecs import Crc32cCodec

    temporary = temporary_path(store, ACTS)
    group = zarr.create_group(str(temporary), zarr_format=3, attributes=attributes)
    # Everything is said: the defaults of zarr 3.1 are odd chunks, no shards, zstd, and fill 0.
    common = {
        "filters": None,
        "compressors": [Crc32cCodec()],
        "serializer": "auto",
        "config": {"write_empty_chunks": True},
    }
    for name, array in layout.arrays.items():
        group.create_array(
            name,
            shape=(layout.n_images, *array.row_shape),
            dtype=array.disk_dtype,
            chunks=(array.chunk_images, *array.row_shape),
            shards=(layout.shard_images, *array.row_shape),
            fill_value=FILL_VALUES[array.dtype],
            dimension_names=array.dimension_names,
            attributes={"torch_dtype": "bfloat16"} if array.dtype == "bfloat16" else {},
            **common,
        )
    index = group.create_array(
        SOURCE_INDEX,
        shape=source_index.shape,
        dtype="int64",
        chunks=source_index.shape,
        fill_value=NO_SOURCE,
        dimension_names=("image",),
        **common,
    )
    index[:] = source_index
    for path in [temporary, *temporary.rglob("*")]:
        sync(path)
    try:
        os.rename(temporary, store / ACTS)
    except OSError:
        shutil.rmtree(temporary)
        if not (store / ACTS).exists():
            raise
        return False
    sync(store)
    return True


def read_hierarchy(store: Path) -> tuple[StoreLayout, dict]:
    """Layout and group attributes of a store; StoreDamaged names the wrong metadata file."""
    acts = store / ACTS
    attributes = read_json(acts / "zarr.json").get("attributes", {})
    patch = _array_metadata(acts / "patch" / "zarr.json")
    prompt = acts / "prompt" / "zarr.json"
    shard_images = patch["chunk_grid"]["configuration"]["chunk_shape"][0]
    chunk_images = patch["codecs"][0]["configuration"]["chunk_shape"][0]
    layout = StoreLayout(
        *patch["shape"],
        dtype=_config_dtype(patch),
        chunk_images=chunk_images,
        chunks_per_shard=shard_images // chunk_images,
        n_prompts=_array_metadata(prompt)["shape"][1] if prompt.exists() else 0,
    )
    for array in layout.arrays.values():
        _check_metadata(acts / array.name / "zarr.json", array)
    return layout, attributes


def _array_metadata(path: Path) -> dict:
    metadata = read_json(path)
    try:
        metadata["shape"][1], metadata["data_type"], metadata["attributes"]
        metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
        metadata["codecs"][0]["configuration"]["chunk_shape"][0]
    except (KeyError, IndexError, TypeError):
        raise StoreDamaged(f"{path} is not the metadata of a sharded Zarr v3 array.") from None
    return metadata


def _config_dtype(metadata: dict) -> str:
    return metadata["attributes"].get("torch_dtype", metadata["data_type"])


def _check_metadata(path: Path, array: ArrayLayout) -> None:
    """The direct reader works out offsets by itself, so the codecs must be exactly these."""
    found = _array_metadata(path)
    inner = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    sharding = {
        "chunk_shape": [array.chunk_images, *array.row_shape],
        "codecs": inner,
        "index_codecs": inner,
        "index_location": "end",
    }
    shard_images = array.chunk_images * array.chunks_per_shard
    expected = {
        "shape": [array.n_images, *array.row_shape],
        "data_type": DISK_DTYPES[array.dtype],
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [shard_images, *array.row_shape]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
    }
    for key, value in expected.items():
        if found.get(key) != value:
            raise StoreDamaged(
                f"{path}: {key} is {json.dumps(found.get(key))}; this reader needs "
                f"{json.dumps(value)}. Open it with zarr-python, or make the store again."
            )


def read_source_index(store: Path, n_images: int) -> np.ndarray:
    """Manifest row of every store row, int64 [image]; checked against its crc32c."""
    path = store / ACTS / SOURCE_INDEX / "c" / "0"
    again = f"Delete {store} and run snakemake again."
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise StoreDamaged(f"{path} is missing. {again}") from None
    body, crc = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if len(body) != 8 * n_images or google_crc32c.value(body) != int.from_bytes(crc, "little"):
        raise StoreDamaged(
            f"{path} has {len(data):,} bytes and should have {8 * n_images + CRC_BYTES:,} with a "
            f"matching checksum (crc32c). {again}"
        )
    return np.frombuffer(body, "<i8").astype(np.int64)


def clear_temporary(store: Path) -> None:
    """Remove what interrupted writers left in `.tmp`; only when nobody writes any more."""
    shutil.rmtree(store / TEMPORARY, ignore_errors=True)

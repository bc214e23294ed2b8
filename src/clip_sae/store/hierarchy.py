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

from .codecs import CODECS, NONE, compression_of, inner_codecs
from .errors import StoreDamaged, writing
from .files import ACTS, TEMPORARY, publish, read_json, sync, temporary_path, write_whole
from .layout import (
    ALIGNMENTS,
    CRC_BYTES,
    DISK_DTYPES,
    FILL_VALUES,
    ArrayLayout,
    StoreLayout,
)

SOURCE_INDEX = "source_index"
GROUP = "zarr.json"  # the group's own metadata
NO_SOURCE = -1  # fill of source_index: a row without a manifest row is damage


def create_hierarchy(
    store: Path, layout: StoreLayout, attributes: dict, source_index: np.ndarray
) -> bool:
    """Make `acts.zarr` under a temporary name and rename it; False if another process did so."""
    temporary = _build(store, layout, attributes, source_index)
    try:
        os.rename(temporary, store / ACTS)
    except OSError:
        shutil.rmtree(temporary)
        if not (store / ACTS).exists():
            raise
        return False
    sync(store)
    return True


def restore_hierarchy(
    store: Path, layout: StoreLayout, attributes: dict, source_index: np.ndarray
) -> None:
    """Rewrite metadata and source_index that differ from those of `create_hierarchy`.

    The group keeps its own attributes.
    """
    temporary = _build(store, layout, attributes, source_index)
    try:
        for fresh in sorted(path for path in temporary.rglob("*") if path.is_file()):
            name = fresh.relative_to(temporary).as_posix()
            target = store / ACTS / name
            same = target.exists() and target.read_bytes() == fresh.read_bytes()
            if name != GROUP and not same:
                publish(fresh, target)
    finally:
        shutil.rmtree(temporary)


def damaged_metadata(store: Path, n_images: int) -> StoreDamaged | None:
    """Return the damage in the arrays' metadata or source_index, or None."""
    try:
        read_hierarchy(store)
        read_source_index(store, n_images)
    except StoreDamaged as error:
        return error
    return None


def write_group(store: Path, attributes: dict) -> None:
    """Rewrite the group's own metadata and leave its arrays alone."""
    document = {"attributes": attributes, "zarr_format": 3, "node_type": "group"}
    write_whole(store, store / ACTS / GROUP, json.dumps(document, indent=2).encode())


def _build(store: Path, layout: StoreLayout, attributes: dict, source_index: np.ndarray) -> Path:
    """Write a whole hierarchy without shards under a temporary name, and flush it."""
    temporary = temporary_path(store, ACTS)
    with writing(store / ACTS):
        _fill(temporary, layout, attributes, source_index)
        for path in [temporary, *temporary.rglob("*")]:
            sync(path)
    return temporary


def _fill(path: Path, layout: StoreLayout, attributes: dict, source_index: np.ndarray) -> None:
    import zarr  # here, so that readers do not wait for it
    from zarr.codecs import BloscCodec, Crc32cCodec

    group = zarr.create_group(str(path), zarr_format=3, attributes=attributes)
    # All options are explicit: zarr 3.1 defaults to odd chunks, no shards, zstd, and fill 0.
    common = {
        "filters": None,
        "serializer": "auto",
        "config": {"write_empty_chunks": True},
    }
    for name, array in layout.arrays.items():
        packed = []
        if layout.compression != NONE:
            codec = CODECS[layout.compression].metadata(array.disk_dtype.itemsize)
            packed = [BloscCodec(**codec["configuration"])]
        group.create_array(
            name,
            shape=(layout.n_images, *array.row_shape),
            dtype=array.disk_dtype,
            chunks=(array.chunk_images, *array.row_shape),
            shards=(layout.shard_images, *array.row_shape),
            fill_value=FILL_VALUES[array.dtype],
            dimension_names=array.dimension_names,
            attributes={"torch_dtype": "bfloat16"} if array.dtype == "bfloat16" else {},
            compressors=[*packed, Crc32cCodec()],
            **common,
        )
    index = group.create_array(
        SOURCE_INDEX,
        shape=source_index.shape,
        dtype="int64",
        chunks=source_index.shape,
        fill_value=NO_SOURCE,
        dimension_names=("image",),
        compressors=[Crc32cCodec()],
        **common,
    )
    index[:] = source_index


def read_hierarchy(store: Path) -> tuple[StoreLayout, dict]:
    """Return layout and group attributes; StoreDamaged names a wrong metadata file."""
    acts = store / ACTS
    attributes = read_attributes(store)
    patch = _array_metadata(acts / "patch" / "zarr.json")
    prompt = acts / "prompt" / "zarr.json"
    try:
        shard_images = patch["chunk_grid"]["configuration"]["chunk_shape"][0]
        chunk_images = patch["codecs"][0]["configuration"]["chunk_shape"][0]
        layout = StoreLayout(
            *patch["shape"],
            dtype=_config_dtype(patch),
            chunk_images=chunk_images,
            chunks_per_shard=shard_images // chunk_images,
            n_prompts=_array_metadata(prompt)["shape"][1] if prompt.exists() else 0,
            compression=_compression(patch),
            version=_version(store, attributes),
        )
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise StoreDamaged(
            f"{acts / 'patch' / GROUP} does not describe an activation store ({error})."
        ) from error
    for array in layout.arrays.values():
        _check_metadata(acts / array.name / "zarr.json", array)
    return layout, attributes


def read_attributes(store: Path) -> dict:
    """Return the group's attributes: spec, fingerprints and provenance of the store."""
    path = store / ACTS / GROUP
    document = read_json(path)
    attributes = document.get("attributes")
    is_group = (document.get("zarr_format"), document.get("node_type")) == (3, "group")
    if not is_group or not isinstance(attributes, dict) or "spec_sha256" not in attributes:
        raise StoreDamaged(f"{path} is not the metadata of an activation store.")
    return attributes


def _array_metadata(path: Path) -> dict:
    metadata = read_json(path)
    try:
        metadata["shape"][1], metadata["data_type"], metadata["attributes"]
        metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
        metadata["codecs"][0]["configuration"]["chunk_shape"][0]
    except (KeyError, IndexError, TypeError):
        raise StoreDamaged(f"{path} is not the metadata of a sharded Zarr v3 array.") from None
    return metadata


def _version(store: Path, attributes: dict) -> int:
    version = attributes.get("store_version")
    if version not in ALIGNMENTS:
        raise StoreDamaged(
            f"{store / ACTS / GROUP} has store_version {version!r}; this clip_sae reads the "
            f"versions {[*ALIGNMENTS]}. Update it, or check the store with "
            "`python -m clip_sae verify`."
        )
    return version


def _config_dtype(metadata: dict) -> str:
    return metadata["attributes"].get("torch_dtype", metadata["data_type"])


def _compression(metadata: dict) -> str:
    codecs = metadata["codecs"][0]["configuration"].get("codecs")
    itemsize = np.dtype(DISK_DTYPES.get(_config_dtype(metadata), "float32")).itemsize
    return compression_of(codecs, itemsize) or NONE  # an unknown codec is refused later


def _check_metadata(path: Path, array: ArrayLayout) -> None:
    """Check that the codecs are the only ones whose offsets the direct reader can compute."""
    found = _array_metadata(path)
    sharding = {
        "chunk_shape": [array.chunk_images, *array.row_shape],
        "codecs": inner_codecs(array.compression, array.disk_dtype.itemsize),
        "index_codecs": inner_codecs(NONE, 8),
        "index_location": "end",
    }
    shard_images = array.chunk_images * array.chunks_per_shard
    expected = {
        **_common_metadata(array.dimension_names),
        "shape": [array.n_images, *array.row_shape],
        "data_type": DISK_DTYPES[array.dtype],
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [shard_images, *array.row_shape]},
        },
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "fill_value": "NaN" if FILL_VALUES[array.dtype] != 0xFFFF else 0xFFFF,
        "attributes": {"torch_dtype": "bfloat16"} if array.dtype == "bfloat16" else {},
    }
    _compare(path, found, expected)


def _common_metadata(dimension_names: tuple[str, ...]) -> dict:
    """Return the entries that the metadata of all arrays share."""
    return {
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "dimension_names": [*dimension_names],
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _compare(path: Path, found: dict, expected: dict) -> None:
    """Raise StoreDamaged if metadata differ from those that this package writes."""
    found = {"storage_transformers": [], **found}
    for key in sorted({*found, *expected}):
        if found.get(key) != expected.get(key):
            raise StoreDamaged(
                f"{path}: {key} is {json.dumps(found.get(key))}; this reader needs "
                f"{json.dumps(expected.get(key))}. Open it with zarr-python, or make the store "
                "again."
            )


def read_source_index(store: Path, n_images: int) -> np.ndarray:
    """Return the manifest row of every store row, int64 [image]; its crc32c is checked."""
    grid = {"name": "regular", "configuration": {"chunk_shape": [n_images]}}
    expected = {
        **_common_metadata(("image",)),
        "shape": [n_images],
        "data_type": "int64",
        "chunk_grid": grid,
        "codecs": inner_codecs(NONE, 8),
        "fill_value": NO_SOURCE,
        "attributes": {},
    }
    metadata = store / ACTS / SOURCE_INDEX / GROUP
    _compare(metadata, read_json(metadata), expected)
    path = store / ACTS / SOURCE_INDEX / "c" / "0"
    again = f"Delete {store} and run snakemake again."
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise StoreDamaged(f"{path} is missing. {again}") from None
    except OSError as error:
        raise StoreDamaged(f"{path} cannot be read ({error.strerror}). {again}") from error
    body, crc = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if len(body) != 8 * n_images or google_crc32c.value(body) != int.from_bytes(crc, "little"):
        raise StoreDamaged(
            f"{path} has {len(data):,} bytes and should have {8 * n_images + CRC_BYTES:,} with a "
            f"matching checksum (crc32c). {again}"
        )
    return np.frombuffer(body, "<i8").astype(np.int64)


def clear_temporary(store: Path) -> None:
    """Remove leftovers of interrupted writers in `.tmp`; no process may still be writing."""
    shutil.rmtree(store / TEMPORARY, ignore_errors=True)

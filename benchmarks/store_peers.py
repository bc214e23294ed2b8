"""Other formats for the same activations: plain zarr-python, a raw memmap, shards like saev's.

saev's (OSU-NLP-Group/saev, `docs/src/developers/protocol.md`): one float32 file per shard, C order
[example, layer, token, d_model], written and read through `np.memmap`; a layer is a strided slice.
Only that layout is imitated here, with two layers; saev's own have as many as were recorded.
"""

from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from clip_sae.store import StoreLayout

SAEV_LAYERS = 2
SAEV_IMAGES = 2048  # in the reservoir's shard: enough for its draws


def zarr_write(path: Path, data: dict[str, np.ndarray], layout: StoreLayout) -> None:
    """The same arrays, shards, chunks and checksums through zarr-python, a shard per call."""
    group = zarr.create_group(path, zarr_format=3)
    for name, array in layout.arrays.items():
        made = group.create_array(
            name,
            shape=data[name].shape,
            dtype="float16",
            chunks=(array.chunk_images, *array.row_shape),
            shards=(layout.shard_images, *array.row_shape),
            filters=None,
            compressors=[Crc32cCodec()],
            config={"write_empty_chunks": True},
        )
        for k in range(layout.n_ranges):
            start, stop = layout.range_bounds(k)
            made[start:stop] = data[name][start:stop]


def memmap_write(path: Path, data: dict[str, np.ndarray], rows: int) -> None:
    """float16 files of the final size from the start, filled `rows` images at a time."""
    for name, array in data.items():
        target = np.memmap(path / f"{name}.mm", array.dtype, "w+", shape=array.shape)
        for lo in range(0, len(array), rows):
            target[lo : lo + rows] = array[lo : lo + rows]
        target.flush()


def saev_write(path: Path, data: dict[str, np.ndarray], rows: int) -> None:
    """One shard file in saev's layout; both layers hold the same tokens."""
    n_images, n_patches, d_model = data["patch"].shape
    shape = (n_images, SAEV_LAYERS, 1 + n_patches, d_model)
    target = np.memmap(path / "acts000000.bin", np.float32, "w+", shape=shape)
    for lo in range(0, n_images, rows):
        target[lo : lo + rows, :, 0] = data["cls"][lo : lo + rows, None]
        target[lo : lo + rows, :, 1:] = data["patch"][lo : lo + rows, None]
    target.flush()


def saev_open(path: Path, layout: StoreLayout, at_most: int | None = None) -> np.ndarray:
    n_images = min(layout.n_images, at_most or layout.n_images)
    shape = (n_images, SAEV_LAYERS, 1 + layout.n_patches, layout.d_model)
    return np.memmap(path / "acts000000.bin", np.float32, "r", shape=shape)


class MemmapRows:
    """A map-style data set of single tokens over a memory-mapped file, for torch's DataLoader."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> np.ndarray:
        return np.array(self.rows[i])

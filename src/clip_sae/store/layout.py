"""The position of every byte of a store: images of a chunk, chunks of a shard, file sizes.

Holds the residuals that the paper's SAEs read (§3, Eq. 3); the layout was measured for Zarr v3.

A chunk is `chunk_images` whole images, followed by its crc32c. A shard is one file:
`chunks_per_shard` chunks in order, then the index (offset and length of every chunk), then the
crc32c of the index. Unless a store is compressed, every offset and file size is known beforehand,
and zeros fill up each chunk so that the next begins at a whole cache line: the kernel copies from
there to memory 1.5 times as fast as from an address 4 bytes off.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod

import google_crc32c
import numpy as np

from .codecs import COMPRESSIONS, NONE

# dtype of the config -> dtype on disk. bfloat16 is kept as its 16 bits: zarr-python has no bfloat16
DISK_DTYPES = {"float16": "float16", "bfloat16": "uint16", "float32": "float32"}
# fill of the padding and of holes: NaN in each dtype, so that a hole can never pass for data
FILL_VALUES = {"float16": np.nan, "bfloat16": 0xFFFF, "float32": np.nan}

CRC_BYTES = 4
INDEX_ENTRY_BYTES = 16  # offset and length, uint64 each
LINE_BYTES = 64
STORE_VERSION = 2
# What chunks are aligned to, by the version of the store; version 1 left no gaps
ALIGNMENTS = {1: 1, 2: LINE_BYTES}
MISSING_CHUNK = 2**64 - 1  # index entry of an absent chunk (Zarr v3 sharding)


@dataclass(frozen=True)
class ArrayLayout:
    """One sharded array [image, ...]; range k of its images is shard file k."""

    name: str
    dimension_names: tuple[str, ...]
    row_shape: tuple[int, ...]
    dtype: str
    n_images: int
    chunk_images: int
    chunks_per_shard: int
    compression: str = NONE
    align: int = LINE_BYTES

    @cached_property
    def disk_dtype(self) -> np.dtype:
        return np.dtype(DISK_DTYPES[self.dtype])

    @cached_property
    def row_bytes(self) -> int:
        return prod(self.row_shape) * self.disk_dtype.itemsize

    @cached_property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk without its crc32c."""
        return self.chunk_images * self.row_bytes

    @property
    def n_chunks(self) -> int:
        """Chunks of the whole array that hold at least one image."""
        return -(-self.n_images // self.chunk_images)

    def shard_file(self, k: int) -> str:
        """Path of shard k inside `acts.zarr` (default chunk keys of Zarr v3)."""
        return "/".join([self.name, "c", str(k), *("0" for _ in self.row_shape)])

    def shard_rows(self, k: int) -> int:
        """Images in shard k: fewer in the last one."""
        shard_images = self.chunk_images * self.chunks_per_shard
        return min(shard_images, self.n_images - k * shard_images)

    def shard_chunks(self, k: int) -> int:
        """Chunks in shard k; the last is padded with NaN, chunks behind it are left out."""
        return -(-self.shard_rows(k) // self.chunk_images)

    @cached_property
    def tail_bytes(self) -> int:
        """Bytes behind a chunk of an uncompressed shard: its crc32c, and zeros up to the next."""
        return CRC_BYTES + -(self.chunk_bytes + CRC_BYTES) % self.align

    def chunk_offset(self, chunk: int) -> int:
        """First byte of a chunk of an uncompressed shard."""
        return chunk * (self.chunk_bytes + self.tail_bytes)

    @property
    def index_bytes(self) -> int:
        """Bytes of a shard's index with its crc32c."""
        return self.chunks_per_shard * INDEX_ENTRY_BYTES + CRC_BYTES

    def shard_nbytes(self, k: int) -> int:
        """Bytes of shard file k, uncompressed."""
        return self.chunk_offset(self.shard_chunks(k)) + self.index_bytes

    def index(self, k: int, lengths: Sequence[int] | None = None) -> bytes:
        """Return the index of shard k, with its crc32c.

        lengths: bytes of each chunk with its crc32c; None: those of an uncompressed shard.
        """
        n = self.shard_chunks(k)
        entries = np.full((self.chunks_per_shard, 2), MISSING_CHUNK, dtype="<u8")
        if lengths is None:
            entries[:n, 1] = self.chunk_bytes + CRC_BYTES
            entries[:n, 0] = np.arange(n) * (self.chunk_bytes + self.tail_bytes)
        else:
            entries[:n, 1] = lengths
            entries[:n, 0] = np.cumsum(entries[:n, 1]) - entries[:n, 1]
        body = entries.tobytes()
        return body + google_crc32c.value(body).to_bytes(CRC_BYTES, "little")


@dataclass(frozen=True)
class StoreLayout:
    """Shape, dtype, chunks and shards of a store.

    n_images, n_patches, d_model: `patch` is [image, patch, d_model], `cls` is [image, d_model]
    dtype: "float16", "bfloat16" (as uint16 bits) or "float32"
    chunk_images, chunks_per_shard: images per checksum, and chunks per file (= per range)
    n_prompts: learned prompt tokens; more than 0 adds `prompt` [image, prompt, d_model]
    compression: "none", or a name of `codecs.CODECS`
    version: of the store; one of version 1 is read and continued as it was written
    """

    n_images: int
    n_patches: int
    d_model: int
    dtype: str = "float16"
    chunk_images: int = 64
    chunks_per_shard: int = 64
    n_prompts: int = 0
    compression: str = NONE
    version: int = STORE_VERSION

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise ValueError(
                f"compression {self.compression!r} is not known; write one of {[*COMPRESSIONS]}."
            )
        if self.version not in ALIGNMENTS:
            raise ValueError(f"store version {self.version!r} is none of {[*ALIGNMENTS]}.")
        if self.dtype not in DISK_DTYPES:
            raise ValueError(f"dtype {self.dtype!r} is not known; write one of {[*DISK_DTYPES]}.")
        for name, value in asdict(self).items():
            least = 0 if name == "n_prompts" else 1
            if name not in ("dtype", "compression") and (type(value) is not int or value < least):
                raise ValueError(f"{name} of a store is {value!r}; it must be an int >= {least}.")

    @classmethod
    def choose(
        cls,
        n_images: int,
        n_patches: int,
        d_model: int,
        dtype: str = "float16",
        *,
        chunk_mb: float = 5.0,
        min_shards: int = 8,
        n_prompts: int = 0,
        compression: str = NONE,
    ) -> "StoreLayout":
        """Return chunks of at most `chunk_mb` MB and 64 chunks a shard, less for a small set.

        Both are powers of two. A small set still gets `min_shards` shards of 4 chunks (if it has
        that many images), because a shard is the unit of resuming and scattering.
        """
        one = cls(n_images, n_patches, d_model, dtype, 1, 1, n_prompts)  # checks the sizes
        fitting = max(1, int(chunk_mb * 1e6 / one.arrays["patch"].row_bytes))
        largest_chunk = _power_of_two_below(fitting)
        shard_images = min(64 * largest_chunk, _power_of_two_below(max(1, n_images // min_shards)))
        chunk_images = min(largest_chunk, max(1, shard_images // 4))
        chunks_per_shard = shard_images // chunk_images
        sizes = (n_images, n_patches, d_model, dtype, chunk_images, chunks_per_shard, n_prompts)
        return cls(*sizes, compression)

    @cached_property
    def arrays(self) -> dict[str, ArrayLayout]:
        """The sharded arrays by name; all have the same images in a chunk."""
        shapes: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
            "patch": (("image", "patch", "d_model"), (self.n_patches, self.d_model)),
            "cls": (("image", "d_model"), (self.d_model,)),
        }
        if self.n_prompts:
            shapes["prompt"] = ("image", "prompt", "d_model"), (self.n_prompts, self.d_model)
        images = (self.n_images, self.chunk_images, self.chunks_per_shard)
        cutting = (self.dtype, *images, self.compression, ALIGNMENTS[self.version])
        return {
            name: ArrayLayout(name, dimensions, row_shape, *cutting)
            for name, (dimensions, row_shape) in shapes.items()
        }

    @cached_property
    def shard_images(self) -> int:
        return self.chunk_images * self.chunks_per_shard

    @property
    def n_ranges(self) -> int:
        return -(-self.n_images // self.shard_images)

    @property
    def nbytes(self) -> int:
        """Bytes of all shard files on disk; of a compressed store, before compression."""
        arrays = self.arrays.values()
        return sum(array.shard_nbytes(k) for array in arrays for k in range(self.n_ranges))

    def range_bounds(self, k: int) -> tuple[int, int]:
        """Return the first image of range k and the one behind its last."""
        if not 0 <= k < self.n_ranges:
            raise ValueError(
                f"range {k} is not in the store; it has ranges 0 to {self.n_ranges - 1}."
            )
        return k * self.shard_images, min((k + 1) * self.shard_images, self.n_images)

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Yield the image bounds of every chunk, the cheapest unit to read."""
        for start in range(0, self.n_images, self.chunk_images):
            yield start, min(start + self.chunk_images, self.n_images)


def _power_of_two_below(n: int) -> int:
    return 1 << (n.bit_length() - 1)

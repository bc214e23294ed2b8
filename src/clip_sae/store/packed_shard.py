"""Writing and reading one shard file of a compressed store: chunks of varying length.

The same file as in `shard_file.py` but for the lengths, which stand in the shard's own index. The
checksum is of the compressed bytes, so that nothing damaged is ever given to the decompressor.
"""

from pathlib import Path

import google_crc32c
import numpy as np

from .codecs import CODECS, HEADER_BYTES, NONE
from .encoding import scratch
from .layout import CRC_BYTES, ArrayLayout
from .shard_file import ShardReader, ShardWriter


def shard_writer(path: Path, array: ArrayLayout, k: int) -> ShardWriter:
    """The writer of shard `k` that fits the compression of the array."""
    return (ShardWriter if array.compression == NONE else PackedShardWriter)(path, array, k)


def shard_reader(
    store: Path, array: ArrayLayout, k: int, recorded: list[int] | None = None
) -> ShardReader:
    """The reader of shard `k` that fits the compression of the array; see `ShardReader`."""
    reader = ShardReader if array.compression == NONE else PackedShardReader
    return reader(store, array, k, recorded)


class PackedShardWriter(ShardWriter):
    """Compresses each chunk before it is appended, and keeps the lengths for the index."""

    def __init__(self, path: Path, array: ArrayLayout, k: int) -> None:
        super().__init__(path, array, k)
        self._codec = CODECS[array.compression]
        self._lengths: list[int] = []

    def write_chunk(self, chunk: np.ndarray) -> None:
        assert chunk.nbytes == self.array.chunk_bytes
        data = self._codec.compress(chunk)
        self._lengths.append(data.nbytes + CRC_BYTES)
        self._append(data)

    def _index(self) -> bytes:
        return self.array.index(self.k, self._lengths)


class PackedShardReader(ShardReader):
    """Reads a chunk whole and decompresses it, whatever rows of it are wanted."""

    def _check_size_and_index(self, size: int) -> None:
        index_bytes = self.array.index_bytes
        if size < index_bytes:
            raise self._damage(f"has {size:,} bytes; its index alone has {index_bytes:,}")
        index = self._read_index(size)
        if google_crc32c.value(index[:-CRC_BYTES]) != int.from_bytes(index[-CRC_BYTES:], "little"):
            raise self._damage("is cut short, or has a damaged chunk index")
        n = self.array.shard_chunks(self.k)
        lengths = np.frombuffer(index[:-CRC_BYTES], "<u8").reshape(-1, 2)[:n, 1]
        least = HEADER_BYTES + CRC_BYTES
        if (lengths < least).any() or self.array.index(self.k, lengths) != index:
            raise self._damage("has the chunk index of another file")
        if size != int(lengths.sum()) + index_bytes:
            expected = int(lengths.sum()) + index_bytes
            raise self._damage(f"has {size:,} bytes instead of {expected:,}")
        self._lengths = lengths.astype(np.int64)
        self._offsets = np.cumsum(self._lengths) - self._lengths

    def read(self, start: int, stop: int, out: np.ndarray, verified: np.ndarray) -> None:
        size = self.array.chunk_images
        for chunk in range(start // size, -(-stop // size)):
            first = chunk * size
            lo, hi = max(start, first), min(stop, first + size)
            piece = out[lo - start : hi - start]
            if hi - lo == size:
                self._read_packed(chunk, piece, check=not verified[chunk])
            else:
                whole = np.empty((size, *self.array.row_shape), self.array.disk_dtype)
                self._read_packed(chunk, whole, check=not verified[chunk])
                piece[...] = whole[lo - first : hi - first]
            verified[chunk] = True

    def read_chunk(self, chunk: int, out: np.ndarray) -> int:
        return self._read_packed(chunk, out, check=True)

    def _read_packed(self, chunk: int, out: np.ndarray, *, check: bool) -> int:
        """Fill `out` with a whole chunk; returns its crc32c as stored."""
        buffer = scratch(int(self._lengths[chunk]))
        self._read_all([buffer], int(self._offsets[chunk]), chunk)
        data, crc = buffer[:-CRC_BYTES], int.from_bytes(buffer[-CRC_BYTES:].tobytes(), "little")
        if check and google_crc32c.value(data) != crc:
            raise self._damage("does not match its checksum (crc32c)", chunk)
        if check:
            self._check_recorded(chunk, crc)
        try:
            CODECS[self.array.compression].decompress(data, out)
        except ValueError as error:
            raise self._damage(f"cannot be decompressed: {error}", chunk) from error
        return crc

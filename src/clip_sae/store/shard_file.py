"""Write and read one shard file, byte for byte as Zarr v3 has it, at the speed of the disk.

The hot path of the store: one chunk is in memory at a time, and nothing passes through zarr-python
(whose writes run at 0.4 and whose reads at 0.1-0.4 of the raw file). Any Zarr library reads the
result. Chunks of a compressed store vary in length; the shard's index holds the lengths, and the
checksum is of the compressed bytes, so that the decompressor never gets damaged data.
"""

import os
from pathlib import Path

import google_crc32c
import numpy as np

from .codecs import CODECS, HEADER_BYTES, NONE
from .encoding import scratch
from .errors import StoreDamaged, writing
from .files import ACTS
from .layout import CRC_BYTES, LINE_BYTES, ArrayLayout

REPAIR = (
    "Find and clear the damage with `python -m clip_sae verify --repair` on this store, then run "
    "snakemake again: it redoes only the damaged ranges."
)


class ShardWriter:
    """Streams the chunks of shard `k` of an array into a temporary file."""

    def __init__(self, path: Path, array: ArrayLayout, k: int) -> None:
        self.path, self.array, self.k = path, array, k
        self.chunk_crc32c: list[int] = []
        self.nbytes = 0
        self._memory = [np.empty(array.chunk_bytes + 2 * LINE_BYTES, np.uint8) for _ in range(2)]
        self._handed_out = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)

    def chunk_buffer(self) -> np.ndarray:
        """Return memory for the next chunk, [chunk_images, ...] in the dtype on disk.

        Two buffers take turns, so that one can be filled while the other is written.
        """
        memory = self._memory[self._handed_out % 2]
        wanted = self.array.chunk_offset(self._handed_out)  # in the file
        start = (wanted - memory.ctypes.data) % LINE_BYTES
        self._handed_out += 1
        data = memory[start : start + self.array.chunk_bytes].view(self.array.disk_dtype)
        return data.reshape(self.array.chunk_images, *self.array.row_shape)

    def write_chunk(self, chunk: np.ndarray) -> None:
        """Append one chunk [chunk_images, ...] in the dtype on disk."""
        data = chunk.reshape(-1).view(np.uint8)
        assert data.nbytes == self.array.chunk_bytes
        self._append(data, self.array.tail_bytes)

    def _append(self, data: np.ndarray, tail_bytes: int = CRC_BYTES) -> None:
        """Append the bytes of a chunk, their crc32c, and zeros until the tail is full."""
        crc = google_crc32c.value(data)
        self.chunk_crc32c.append(crc)
        start = self.nbytes
        self._write([data, crc.to_bytes(tail_bytes, "little")])
        if hasattr(os, "posix_fadvise"):  # begins to flush these pages: `finish` then waits less
            with writing(self.path):
                os.posix_fadvise(
                    self._descriptor, start, self.nbytes - start, os.POSIX_FADV_DONTNEED
                )

    def finish(self) -> None:
        """Append the index and flush to the disk; the caller renames."""
        assert len(self.chunk_crc32c) == self.array.shard_chunks(self.k)
        self._write([self._index()])
        with writing(self.path):
            os.fsync(self._descriptor)
        self.close()

    def _index(self) -> bytes:
        return self.array.index(self.k)

    def _write(self, buffers: list) -> None:
        """Repeat os.writev until everything is written: it may stop early (signals, 2 GiB)."""
        views = [np.frombuffer(buffer, np.uint8) for buffer in buffers]
        self.nbytes += sum(view.nbytes for view in views)
        with writing(self.path):
            while views:
                views = _drop_front(views, os.writev(self._descriptor, views))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class ShardReader:
    """Reads rows of shard `k`; refuses a missing or short file and a damaged index when opened.

    recorded: crc32c of every chunk as the part file has them, to detect a whole chunk that belongs
        elsewhere. None skips this check.
    """

    rows_apart = True  # rows of a chunk can be read without the rest of it

    def __init__(
        self, store: Path, array: ArrayLayout, k: int, recorded: list[int] | None = None
    ) -> None:
        self.array, self.k, self.recorded = array, k, recorded
        self.path = store / ACTS / array.shard_file(k)
        self._descriptor = -1
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            raise self._damage("is missing") from None
        except OSError as error:
            raise self._damage(f"cannot be opened ({error.strerror})") from error
        self._check_size_and_index(os.fstat(self._descriptor).st_size)

    def _check_size_and_index(self, size: int) -> None:
        expected = self.array.shard_nbytes(self.k)
        if size != expected:
            raise self._damage(f"has {size:,} bytes instead of {expected:,}")
        index = self.array.index(self.k)
        if self._read_index(size) != index:
            raise self._damage("has a damaged chunk index")

    def _read_index(self, size: int) -> bytes:
        index = np.empty(self.array.index_bytes, np.uint8)
        self._read_all([index], size - index.nbytes)
        return index.tobytes()

    def read(self, start: int, stop: int, out: np.ndarray, verified: np.ndarray) -> None:
        """Read rows start to stop of the shard into `out` [row, ...], C-contiguous, disk dtype.

        verified: bool [chunk], of this shard; a chunk that is False is read whole and checked
        against its crc32c, and becomes True.
        """
        size = self.array.chunk_images
        for chunk in range(start // size, -(-stop // size)):
            first = chunk * size
            lo, hi = max(start, first), min(stop, first + size)
            piece = out[lo - start : hi - start]
            if verified[chunk] and self.rows_apart:
                offset = self.array.chunk_offset(chunk) + (lo - first) * self.array.row_bytes
                self._read_all([_bytes(piece)], offset, chunk)
                continue
            if hi - lo == size:
                self.read_chunk(chunk, piece, check=not verified[chunk])
            else:
                whole = np.empty((size, *self.array.row_shape), self.array.disk_dtype)
                self.read_chunk(chunk, whole, check=not verified[chunk])
                piece[...] = whole[lo - first : hi - first]
            verified[chunk] = True

    def read_chunk(self, chunk: int, out: np.ndarray, *, check: bool = True) -> None:
        """Read one whole chunk into `out`; with `check`, StoreDamaged if its crc32c differs."""
        tail = memoryview(bytearray(self.array.tail_bytes))
        data = _bytes(out)
        self._read_all([data, tail], self.array.chunk_offset(chunk), chunk)
        if check:
            self._check_crc(chunk, data, int.from_bytes(tail, "little"))  # with the zeros behind it

    def _check_crc(self, chunk: int, data: np.ndarray, stored: int) -> None:
        crc = google_crc32c.value(data)
        if crc != stored:
            raise self._damage("does not match its checksum (crc32c)", chunk)
        if self.recorded is not None and self.recorded[chunk : chunk + 1] != [crc]:
            raise self._damage("is whole, but not the chunk that the part file records", chunk)

    def _read_all(self, buffers: list, offset: int, chunk: int | None = None) -> None:
        while buffers:
            try:
                count = os.preadv(self._descriptor, buffers, offset)
            except OSError as error:
                raise self._damage(f"cannot be read ({error.strerror})", chunk) from error
            if count == 0:
                raise self._damage("ends too early", chunk)
            offset += count
            buffers = _drop_front(buffers, count)

    def _damage(self, problem: str, chunk: int | None = None) -> StoreDamaged:
        first = self.k * self.array.chunk_images * self.array.chunks_per_shard
        rows = range(self.array.shard_rows(self.k))
        where = f"range {self.k}"
        if chunk is not None:
            size = self.array.chunk_images
            rows = rows[chunk * size : (chunk + 1) * size]
            where = f"chunk {chunk} of range {self.k}"
        images = f"image rows {first + rows.start} to {first + rows.stop - 1}"
        message = f"{self.path}: {where} ({images}) {problem}. {REPAIR}"
        return StoreDamaged(message, chunk=chunk, images=images, problem=problem)

    def __del__(self) -> None:
        # Closing here, not on eviction from a cache, lets another thread finish its read first.
        if self._descriptor >= 0:
            os.close(self._descriptor)


class PackedShardWriter(ShardWriter):
    """Compresses each chunk, and keeps the lengths for the index."""

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
    """Reads and decompresses whole chunks, also for a few of their rows."""

    rows_apart = False

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
        expected = int(lengths.sum()) + index_bytes
        if size != expected:
            raise self._damage(f"has {size:,} bytes instead of {expected:,}")
        self._lengths = lengths.astype(np.int64)
        self._offsets = np.cumsum(self._lengths) - self._lengths

    def read_chunk(self, chunk: int, out: np.ndarray, *, check: bool = True) -> None:
        buffer = scratch(int(self._lengths[chunk]))
        self._read_all([buffer], int(self._offsets[chunk]), chunk)
        data = buffer[:-CRC_BYTES]
        if check:
            crc = int.from_bytes(buffer[-CRC_BYTES:].tobytes(), "little")
            self._check_crc(chunk, data, crc)
        try:
            CODECS[self.array.compression].decompress(data, out)
        except ValueError as error:
            raise self._damage(f"cannot be decompressed: {error}", chunk) from error


def shard_writer(path: Path, array: ArrayLayout, k: int) -> ShardWriter:
    """Return a writer of shard `k` for the compression of the array."""
    return (ShardWriter if array.compression == NONE else PackedShardWriter)(path, array, k)


def shard_reader(
    store: Path, array: ArrayLayout, k: int, recorded: list[int] | None = None
) -> ShardReader:
    """Return a reader of shard `k` for the compression of the array; see `ShardReader`."""
    reader = ShardReader if array.compression == NONE else PackedShardReader
    return reader(store, array, k, recorded)


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)  # a view: the callers pass C-contiguous arrays


def _drop_front(buffers: list, count: int) -> list:
    """Return `buffers` (uint8 arrays or memoryviews) without their first `count` bytes."""
    while buffers and count >= buffers[0].nbytes:
        count -= buffers[0].nbytes
        buffers = buffers[1:]
    return [buffers[0][count:], *buffers[1:]] if buffers else []

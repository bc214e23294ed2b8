"""Write one range of a store from batches of any size.

Values are checked (float16 ends at 65,504), cast, cut into chunks and summed. One thread
compresses, checksums and writes a chunk, and another sums it, while the next is cast.
"""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from math import prod
from pathlib import Path

import numpy as np

from .encoding import ACCEPTED, checked_absmax, encode
from .errors import StoreError
from .files import ACTS, publish, sweep, temporary_path
from .layout import FILL_VALUES, ArrayLayout
from .parts import ArrayStats, image_sums, withdraw, write_part
from .shard_file import shard_writer


class ArrayStream:
    """Rows of one array on their way into shard `k`: one chunk is filled, one is written."""

    def __init__(self, store: Path, array: ArrayLayout, k: int, pool: ThreadPoolExecutor) -> None:
        label = f"{k:05d}-{array.name}"
        sweep(store, label)
        self.array, self.k = array, k
        self.stats = ArrayStats.empty(array.row_shape[-1])
        self.rows = 0
        self.shard = shard_writer(temporary_path(store, label), array, k)
        self._pool = pool
        self._pending: list[Future] = []  # writing and summing the last full chunk
        self._chunk = self.shard.chunk_buffer()
        self._filled = 0
        self._sums = np.empty((2, array.chunk_images, array.row_shape[-1]), np.float32)
        self._largest = 0.0

    def put(self, values: np.ndarray, largest: float) -> None:
        """Append rows; `largest` is their largest magnitude once stored."""
        self._largest = max(self._largest, largest)
        while len(values):
            n = min(len(values), self.array.chunk_images - self._filled)
            encode(values[:n], self._chunk[self._filled : self._filled + n])
            self._filled += n
            self.rows += n
            values = values[n:]
            if self._filled == self.array.chunk_images:
                self._flush()

    def finish(self) -> None:
        if self._filled:
            self._flush()
        self._wait()
        self.shard.finish()

    def _flush(self) -> None:
        self._wait()
        self._chunk[self._filled :] = FILL_VALUES[self.array.dtype]  # the last chunk of all
        self._pending = [
            self._pool.submit(self.shard.write_chunk, self._chunk),
            self._pool.submit(self._sum, self._chunk[: self._filled]),
        ]
        self._chunk = self.shard.chunk_buffer()
        self._filled = 0

    def _sum(self, stored: np.ndarray) -> None:
        sums, squares = self._sums[:, : len(stored)]
        image_sums(stored, sums, squares, finite=True)
        self.stats.add(sums, squares, prod(self.array.row_shape[:-1]), self._largest)

    def close(self) -> None:
        """Wait for the threads, close the file and remove it if it was not renamed."""
        wait(self._pending)
        self.shard.close()
        self.shard.path.unlink(missing_ok=True)

    def _wait(self) -> None:
        """Wait until the last full chunk is written and summed; raise the error of either."""
        for future in self._pending:
            future.result()


class RangeWriter:
    """Takes the images of range `k` in row order; made by `StoreWriter.range`."""

    def __init__(self, writer, k: int, pool: ThreadPoolExecutor) -> None:
        self._writer, self.k = writer, k
        self.start, self.stop = writer.layout.range_bounds(k)
        self._streams: dict[str, ArrayStream] = {}
        try:
            for name, array in writer.layout.arrays.items():
                self._streams[name] = ArrayStream(writer.path, array, k, pool)
        except BaseException:
            self.discard()
            raise

    @property
    def rows(self) -> int:
        """Images put so far."""
        return self._streams["cls"].rows

    def put(self, cls: np.ndarray, patch: np.ndarray, prompt: np.ndarray | None = None) -> None:
        """Append n images: cls [n, d_model], patch [n, patch, d_model], prompt likewise.

        float32 or the store's own dtype (bfloat16 as uint16 bits); any n. float16 from the
        model's device is the fastest. If one value does not fit, nothing of the batch is stored.
        Raises ActivationOverflow with layer, hook, image and d_model index; StoreError on a shape.
        """
        given = {"patch": patch, "cls": cls} | ({} if prompt is None else {"prompt": prompt})
        if {*given} != {*self._streams}:
            raise StoreError(
                f"{self._writer.label} has the arrays {[*self._streams]}; put got {[*given]}."
            )
        largest = {}
        for name, values in given.items():
            self._check_shape(name, values, len(cls))
            largest[name] = self._checked_absmax(name, values)
        for name, values in given.items():
            self._streams[name].put(values, largest[name])

    def _check_shape(self, name: str, values: np.ndarray, n: int) -> None:
        array = self._streams[name].array
        if values.shape != (n, *array.row_shape) or values.dtype.name not in ACCEPTED[array.dtype]:
            expected = ", ".join(map(str, (n, *array.row_shape)))
            raise StoreError(
                f"{self._writer.label}: {name} got {values.dtype} {list(values.shape)}; its rows "
                f"must be {' or '.join(ACCEPTED[array.dtype])} [{expected}] "
                f"({', '.join(array.dimension_names)})."
            )
        if self.rows + n > self.stop - self.start:
            raise StoreError(
                f"{self._writer.label}: range {self.k} holds image rows {self.start} to "
                f"{self.stop - 1}; {self.rows} are put and {n} more do not fit. "
                "End the batch where the range ends."
            )

    def _checked_absmax(self, name: str, values: np.ndarray) -> float:
        first = self.start + self.rows

        def place(i: int) -> str:
            source = self._writer.source_index[first + i]
            return f"{self._writer.label}: image row {first + i} (manifest row {source})"

        return checked_absmax(values, self._writer.layout.dtype, name, place)

    def commit(self) -> None:
        """Rename the finished shard files into place, then write the part file."""
        expected = self.stop - self.start
        if self.rows != expected:
            raise StoreError(
                f"{self._writer.label}: range {self.k} (image rows {self.start} to "
                f"{self.stop - 1}) needs {expected} images and got {self.rows}; it was not written."
            )
        for stream in self._streams.values():
            stream.finish()
        store = self._writer.path
        withdraw(store, self.k)  # a range that is rewritten is unfinished meanwhile
        for stream in self._streams.values():
            publish(stream.shard.path, store / ACTS / stream.array.shard_file(self.k))
        shards = {name: stream.shard for name, stream in self._streams.items()}
        stats = {name: stream.stats for name, stream in self._streams.items()}
        write_part(store, self._writer.layout, self.k, self._writer.spec_digest, shards, stats)

    def discard(self) -> None:
        """Close and remove the temporary files; committed ranges stay."""
        for stream in self._streams.values():
            stream.close()

"""The windows of a `TokenStream`: the chunks of a source, read into memory and served in order.

Feeds the training of all SAEs (§3, Eq. 3); no equation of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from .encoding import PIECE_VALUES, decode
from .layout import StoreLayout
from .shuffle import ShufflePlan, Window


@dataclass(frozen=True)
class Chunk:
    """Images `start` to `stop` of one chunk, and the memory for their tokens.

    arrays: {"cls", "patch": memory}, C-contiguous, in the dtype on disk, of as many elements as the
        chunk has; an absent array is not read.
    """

    start: int
    stop: int
    arrays: Mapping[str, np.ndarray]


class ChunkSource(Protocol):
    """Source of a `TokenStream`: an `ActivationStore`, or images that are computed on the way.

    path: named in messages
    layout: chunks and dtype; the order of tokens depends on its chunks
    """

    @property
    def path(self) -> Path: ...
    @property
    def layout(self) -> StoreLayout: ...
    @property
    def n_images(self) -> int: ...
    @property
    def d_model(self) -> int: ...
    @property
    def disk_dtype(self) -> np.dtype: ...

    def token_shape(self, tokens: str) -> tuple[int, ...]:
        """Return the shape of one image for a choice of tokens: [token, d_model]."""
        ...

    def read_chunks(self, chunks: Sequence[Chunk]) -> Iterator[None]:
        """Fill the chunks in order, one per step. Closing the generator ends its threads."""
        ...


class WindowBuffer:
    """The tokens of one window in memory, read chunk by chunk, served in the plan's order.

    memory: [token, d_model] in the dtype on disk, at least as many rows as the window has
    pool: threads that read the chunks; None reads in the caller's thread
    """

    def __init__(
        self,
        source: ChunkSource,
        plan: ShufflePlan,
        memory: np.ndarray,
        pool: Executor | None = None,
    ) -> None:
        self.source, self.plan, self.memory, self._pool = source, plan, memory, pool
        n_rows = max(1, PIECE_VALUES // source.d_model)
        self._piece = np.empty((n_rows, source.d_model), memory.dtype)

    def open(self, epoch: int, window: Window, *, loaded: bool = False) -> "WindowBuffer":
        """Begin with a window, whose chunks may be `loaded` already; a pool begins to read them."""
        self.epoch, self.window = epoch, window
        self._order = self.plan.order(epoch, window)
        chunks = [] if loaded else [self._chunk(*bounds) for bounds in self.plan.chunk_rows(window)]
        self._n_chunks, self._n_loaded = len(chunks), 0
        self._reading = self._read(chunks)
        return self

    def close(self) -> None:
        """Stop reading; chunks in memory stay."""
        self._reading.close()

    def progress(self, position: int) -> float:
        """Return the fraction of the window before a position of the epoch, 0 ... 1."""
        return (position - self.window.first) / (self.window.stop - self.window.first)

    def load(self, fraction: float) -> None:
        """Wait until this fraction of the chunks is in memory."""
        wanted = min(self._n_chunks, int(np.ceil(fraction * self._n_chunks)))
        for _ in islice(self._reading, max(0, wanted - self._n_loaded)):
            self._n_loaded += 1
        if self.is_loaded:
            self._reading.close()  # a source may hold threads until then

    @property
    def is_loaded(self) -> bool:
        """True if all chunks are in memory."""
        return self._n_loaded == self._n_chunks

    @property
    def reads_ahead(self) -> bool:
        """True if a pool reads the chunks, so that `load` need not be called in time."""
        return self._pool is not None

    def _chunk(self, start: int, stop: int, row: int) -> Chunk:
        """Return a chunk with its part of the memory: CLS rows, then patch rows."""
        arrays = {}
        for name, per_image in (("cls", self.plan.n_cls), ("patch", self.plan.n_patches)):
            n_rows = (stop - start) * per_image
            if n_rows:
                arrays[name] = self.memory[row : row + n_rows]
            row += n_rows
        return Chunk(start, stop, arrays)

    def _read(self, chunks: list[Chunk]) -> Iterator[None]:
        """Fill one chunk per step; raise the error of reading it."""
        if self._pool is None:
            return self.source.read_chunks(chunks)
        reads = [self._pool.submit(self._read_one, chunk) for chunk in chunks]
        return (read.result() for read in reads)

    def _read_one(self, chunk: Chunk) -> None:
        for _ in self.source.read_chunks([chunk]):
            pass

    def gather(self, position: int, out: np.ndarray) -> int:
        """Fill `out` [token, d_model] from a position of the epoch; return the rows filled.

        `out` is float32, or in the dtype on disk, which keeps the stored values.
        """
        self.load(1.0)
        offset = position - self.window.first
        rows = self._order[offset : offset + len(out)]
        # mode="clip" skips a slow check of bounds (2.6x); a permutation is within them
        if out.dtype == self.memory.dtype:
            np.take(self.memory, rows, axis=0, mode="clip", out=out[: len(rows)])
            return len(rows)
        for lo in range(0, len(rows), len(self._piece)):  # small pieces stay in the cache
            chosen = rows[lo : lo + len(self._piece)]
            piece = self._piece[: len(chosen)]
            np.take(self.memory, chosen, axis=0, mode="clip", out=piece)
            decode(piece, out[lo : lo + len(chosen)])
        return len(rows)

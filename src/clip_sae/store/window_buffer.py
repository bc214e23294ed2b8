"""The tokens of one window in memory: read block by block, served in the plan's order.

Part of `stream.py`, which feeds the training of all SAEs (§3, Eq. 3).
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from itertools import islice

import numpy as np

from .blocks import Block, BlockSource
from .encoding import PIECE_VALUES, decode
from .shuffle import ShufflePlan, Window


class WindowBuffer:
    """One window. pool: threads that read its blocks; without one the caller's thread does.

    memory: [token, d_model] in the dtype on disk, at least as many rows as the window has
    """

    def __init__(
        self,
        source: BlockSource,
        plan: ShufflePlan,
        memory: np.ndarray,
        pool: Executor | None = None,
    ) -> None:
        self.source, self.plan, self.memory, self._pool = source, plan, memory, pool
        n_rows = max(1, PIECE_VALUES // source.d_model)
        self._piece = np.empty((n_rows, source.d_model), memory.dtype)

    def open(self, epoch: int, window: Window, *, loaded: bool = False) -> "WindowBuffer":
        """Begin with a window; nothing is read yet, unless its blocks are `loaded` already.

        With a pool all its blocks are queued at once: the memory is there for them.
        """
        self.epoch, self.window = epoch, window
        self._order = self.plan.order(epoch, window)
        blocks = [] if loaded else [self._block(*place) for place in self.plan.block_rows(window)]
        self._n_blocks, self._n_loaded = len(blocks), 0
        self._reading = self._read(blocks)
        return self

    def close(self) -> None:
        """Stop reading; what is in memory stays."""
        self._reading.close()

    def progress(self, position: int) -> float:
        """How much of the window lies before a position of the epoch, 0 ... 1."""
        return (position - self.window.first) / (self.window.stop - self.window.first)

    def load(self, fraction: float) -> None:
        """Return when this fraction of the blocks is in memory."""
        wanted = min(self._n_blocks, int(np.ceil(fraction * self._n_blocks)))
        for _ in islice(self._reading, max(0, wanted - self._n_loaded)):
            self._n_loaded += 1
        if self.is_loaded:
            self._reading.close()  # a source may hold threads until then

    @property
    def is_loaded(self) -> bool:
        """Whether all its blocks are in memory."""
        return self._n_loaded == self._n_blocks

    @property
    def reads_ahead(self) -> bool:
        """Whether its blocks come by themselves, so that nobody need ask for them in time."""
        return self._pool is not None

    def _block(self, start: int, stop: int, row: int) -> Block:
        """Where a block goes: its CLS rows, then its patch rows."""
        arrays = {}
        for name, per_image in (("cls", self.plan.n_cls), ("patch", self.plan.n_patches)):
            n_rows = (stop - start) * per_image
            if n_rows:
                arrays[name] = self.memory[row : row + n_rows]
            row += n_rows
        return Block(start, stop, arrays)

    def _read(self, blocks: list[Block]) -> Iterator[None]:
        """Fill one block per step; an error is that of reading it."""
        if self._pool is None:
            return self.source.read_blocks(blocks)
        reads = [self._pool.submit(self._read_one, block) for block in blocks]
        return (read.result() for read in reads)

    def _read_one(self, block: Block) -> None:
        for _ in self.source.read_blocks([block]):
            pass

    def gather(self, position: int, out: np.ndarray) -> int:
        """Fill `out` [token, d_model] from a position of the epoch; returns rows filled.

        `out` is float32, or in the dtype on disk to have the values as they are.
        """
        self.load(1.0)
        offset = position - self.window.first
        rows = self._order[offset : offset + len(out)]
        # mode="clip" skips a slow check of bounds (2.6x); a permutation is within them
        if out.dtype == self.memory.dtype:
            np.take(self.memory, rows, axis=0, mode="clip", out=out[: len(rows)])
            return len(rows)
        for lo in range(0, len(rows), len(self._piece)):  # they stay in the cache in between
            chosen = rows[lo : lo + len(self._piece)]
            piece = self._piece[: len(chosen)]
            np.take(self.memory, chosen, axis=0, mode="clip", out=piece)
            decode(piece, out[lo : lo + len(chosen)])
        return len(rows)

"""The tokens of one window in memory: read block by block, served in the plan's order.

Part of `stream.py`, which feeds the training of all SAEs (§3, Eq. 3).
"""

from concurrent.futures import Executor, Future

import numpy as np

from .encoding import PIECE_VALUES, decode
from .reader import ActivationStore
from .shuffle import ShufflePlan, Window


class WindowBuffer:
    """One window. pool: threads that read its blocks; without one the caller's thread does.

    memory: [token, d_model] in the dtype on disk, at least as many rows as the window has
    """

    def __init__(
        self,
        store: ActivationStore,
        plan: ShufflePlan,
        memory: np.ndarray,
        pool: Executor | None = None,
    ) -> None:
        self.store, self.plan, self.memory, self._pool = store, plan, memory, pool
        n_rows = max(1, PIECE_VALUES // store.d_model)
        self._piece = np.empty((n_rows, store.d_model), memory.dtype)

    def open(self, epoch: int, window: Window, *, loaded: bool = False) -> "WindowBuffer":
        """Begin with a window; nothing is read yet, unless its blocks are `loaded` already.

        With a pool all its blocks are queued at once: the memory is there for them.
        """
        self.window = window
        self._order = self.plan.order(epoch, window)
        self._blocks = [] if loaded else [*self.plan.block_rows(window)]
        self._loaded = 0
        self._reads: list[Future] = []
        if self._pool is not None:
            self._reads = [self._pool.submit(self._read, *block) for block in self._blocks]
        return self

    def progress(self, position: int) -> float:
        """How much of the window lies before a position of the epoch, 0 ... 1."""
        return (position - self.window.first) / (self.window.stop - self.window.first)

    def load(self, fraction: float) -> None:
        """Return when this fraction of the blocks is in memory."""
        wanted = min(len(self._blocks), int(np.ceil(fraction * len(self._blocks))))
        for i in range(self._loaded, wanted):
            if self._reads:
                self._reads[i].result()  # raises what reading this block raised
            else:
                self._read(*self._blocks[i])
        self._loaded = max(self._loaded, wanted)

    @property
    def reads_ahead(self) -> bool:
        """Whether its blocks come by themselves, so that nobody need ask for them in time."""
        return bool(self._reads)

    def _read(self, start: int, stop: int, row: int) -> None:
        """One block: its CLS rows, then its patch rows."""
        n_cls = (stop - start) * self.plan.n_cls
        if n_cls:
            self.store.read_array("cls", start, stop, self.memory[row : row + n_cls])
        n_patches = (stop - start) * self.plan.n_patches
        row += n_cls
        if n_patches:
            self.store.read_array("patch", start, stop, self.memory[row : row + n_patches])

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

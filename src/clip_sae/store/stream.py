"""Serving every token of a store once per epoch, shuffled, as fast as one core can gather rows.

Feeds the training of all SAEs (§3, Eq. 3). The order is that of `shuffle.py` and nothing else:
threads, resuming and the number of reads do not change it.
"""

import sys
import threading
from collections.abc import Iterator

import numpy as np

from .encoding import decode
from .errors import StoreError
from .prefetch import prefetched
from .reader import ActivationStore
from .shuffle import ShufflePlan, Window

RESIDENT_BYTES = 2**30  # a store up to this size is shuffled as a whole and read once
IMAGES_PER_BATCH_TOKEN = 4  # window size otherwise; see shuffle.py for what it buys
BATCHES_AHEAD = 2
PIECE_VALUES = 2**17  # 0.25 MB of float16: fits the second-level cache with its float32 copy


class TokenStream:
    """Shuffled batches of tokens from a store.

    batch_tokens: rows per batch; the last batch of an epoch has what is left (drop_last: leaves
        it out)
    tokens: "all" (CLS and patches), "cls" or "patch"
    buffer_images: images shuffled together. 0: all of them if they take at most 1 GiB, else
        4 x batch_tokens. Memory is twice that many images, or once if they are the whole set.
    prefetch: read and gather in one background thread; the batches are the same without.
    """

    def __init__(
        self,
        store: ActivationStore,
        *,
        batch_tokens: int,
        seed: int,
        tokens: str = "all",
        buffer_images: int = 0,
        prefetch: bool = True,
        drop_last: bool = False,
    ) -> None:
        if batch_tokens < 1 or seed < 0 or buffer_images < 0:
            raise StoreError(
                f"A token stream needs batch_tokens >= 1, seed >= 0 and buffer_images >= 0; got "
                f"{batch_tokens}, {seed} and {buffer_images}."
            )
        if tokens not in ("all", "cls", "patch"):
            raise StoreError(f"A token stream serves 'all', 'cls' or 'patch', not {tokens!r}.")
        self.store, self.batch_tokens, self.tokens = store, batch_tokens, tokens
        self.prefetch, self.drop_last = prefetch, drop_last
        tokens_per_image, d_model = store.token_shape(tokens)
        image_bytes = tokens_per_image * d_model * store.disk_dtype.itemsize
        if not buffer_images:
            fits = store.n_images * image_bytes <= RESIDENT_BYTES
            buffer_images = store.n_images if fits else IMAGES_PER_BATCH_TOKEN * batch_tokens
        n_cls = 0 if tokens == "patch" else 1
        n_patches = tokens_per_image - n_cls
        self._plan = ShufflePlan(store.layout, n_cls, n_patches, buffer_images, seed)
        self._resident: WindowBuffer | None = None
        self._lock = threading.Lock()
        if not self.n_batches:
            raise StoreError(
                f"{store.path} has {self.n_tokens} tokens ({tokens}); a batch of {batch_tokens} "
                "is never full. Lower batch_tokens."
            )

    @property
    def d_model(self) -> int:
        return self.store.d_model

    @property
    def n_tokens(self) -> int:
        """Tokens in the store that take part, before drop_last."""
        return self._plan.n_tokens

    @property
    def n_batches(self) -> int:
        """Batches of an epoch."""
        full, rest = divmod(self.n_tokens, self.batch_tokens)
        return full if self.drop_last or not rest else full + 1

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[np.ndarray]:
        """Batches float32 [batch, d_model] of an epoch (0, 1, ...), from `start_batch` on.

        A batch keeps its values while anything refers to it, then its memory serves another.
        Those before `start_batch` are neither read nor made.
        """
        self._check_position(epoch, start_batch)
        batches = self._batches(epoch, start_batch)
        return prefetched(batches, BATCHES_AHEAD) if self.prefetch else batches

    def indices(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Image row and token (CLS = 0) of each row of each batch of an epoch, without reading."""
        self._check_position(epoch, 0)
        image_rows, tokens = [], []
        for window in self._plan.windows(epoch):
            order = self._plan.order(epoch, window)
            images, positions = self._plan.locate(window)
            image_rows.append(images[order])
            tokens.append(positions[order])
        image_rows, tokens = np.concatenate(image_rows), np.concatenate(tokens)
        for lo, hi in map(self._bounds, range(self.n_batches)):
            yield image_rows[lo:hi], tokens[lo:hi]

    def _check_position(self, epoch: int, start_batch: int) -> None:
        if epoch < 0 or not 0 <= start_batch <= self.n_batches:
            raise StoreError(
                f"batch {start_batch} of epoch {epoch} was asked for; epochs count from 0 and "
                f"have batches 0 to {self.n_batches - 1}."
            )

    def _bounds(self, batch: int) -> tuple[int, int]:
        """Positions of a batch within its epoch."""
        lo = batch * self.batch_tokens
        return lo, min(lo + self.batch_tokens, self.n_tokens)

    def _batches(self, epoch: int, start_batch: int) -> Iterator[np.ndarray]:
        if start_batch == self.n_batches:
            return
        first = self._bounds(start_batch)[0]
        windows = [w for w in self._plan.windows(epoch) if w.stop > first]
        buffers = self._buffers(epoch, windows)
        current, ahead = next(buffers), next(buffers, None)
        pool = BatchPool((self.batch_tokens, self.d_model))
        for position, stop in map(self._bounds, range(start_batch, self.n_batches)):
            batch = pool.take(stop - position)
            done = 0
            while done < len(batch):
                if position + done == current.window.stop:
                    current, ahead = ahead, next(buffers, None)
                done += current.gather(position + done, batch[done:])
            if ahead:  # spread the reading evenly over the batches
                ahead.load(current.progress(stop))
            yield batch
            del batch  # or the pool could not tell that the consumer has dropped it

    def _buffers(self, epoch: int, windows: list[Window]) -> Iterator["WindowBuffer"]:
        """The windows' buffers in order; each is asked for while the one before it is served."""
        if self._plan.n_windows == 1:
            with self._lock:
                if self._resident is None:
                    buffer = WindowBuffer(self.store, self._plan, self._memory(windows))
                    buffer.open(epoch, windows[0]).load(1.0)
                    self._resident = buffer
                memory = self._resident.memory
            yield WindowBuffer(self.store, self._plan, memory).open(epoch, windows[0], loaded=True)
            return
        pair = [WindowBuffer(self.store, self._plan, self._memory(windows)) for _ in windows[:2]]
        for i, window in enumerate(windows):
            yield pair[i % 2].open(epoch, window)

    def _memory(self, windows: list[Window]) -> np.ndarray:
        """Room for the largest window, [token, d_model]; it is reused, since new pages cost."""
        n_rows = max(window.stop - window.first for window in windows)
        return np.empty((n_rows, self.d_model), self.store.disk_dtype)


class WindowBuffer:
    """The tokens of one window in memory, read block by block, served in the plan's order."""

    def __init__(self, store: ActivationStore, plan: ShufflePlan, memory: np.ndarray) -> None:
        self.store, self.plan, self.memory = store, plan, memory
        n_rows = max(1, PIECE_VALUES // store.d_model)
        self._piece = np.empty((n_rows, store.d_model), memory.dtype)

    def open(self, epoch: int, window: Window, *, loaded: bool = False) -> "WindowBuffer":
        """Begin with a window; nothing is read yet, unless its blocks are `loaded` already."""
        self.window = window
        self._order = self.plan.order(epoch, window)
        self._blocks = [] if loaded else [*self.plan.block_rows(window)]
        self._loaded = 0
        return self

    def progress(self, position: int) -> float:
        """How much of the window lies before a position of the epoch, 0 ... 1."""
        return (position - self.window.first) / (self.window.stop - self.window.first)

    def load(self, fraction: float) -> None:
        """Read blocks until this fraction of them is in memory."""
        wanted = min(len(self._blocks), int(np.ceil(fraction * len(self._blocks))))
        for start, stop, row in self._blocks[self._loaded : wanted]:
            n_cls = (stop - start) * self.plan.n_cls
            if n_cls:
                self.store.read_array("cls", start, stop, self.memory[row : row + n_cls])
            n_patches = (stop - start) * self.plan.n_patches
            row += n_cls
            if n_patches:
                self.store.read_array("patch", start, stop, self.memory[row : row + n_patches])
        self._loaded = max(self._loaded, wanted)

    def gather(self, position: int, out: np.ndarray) -> int:
        """Fill `out` [token, d_model], float32, from a position of the epoch; returns rows filled.

        By pieces that stay in the cache between the gather and the conversion.
        """
        self.load(1.0)
        offset = position - self.window.first
        rows = self._order[offset : offset + len(out)]
        for lo in range(0, len(rows), len(self._piece)):
            chosen = rows[lo : lo + len(self._piece)]
            piece = self._piece[: len(chosen)]
            # mode="clip" skips a slow check of bounds (2.6x); a permutation is within them
            np.take(self.memory, chosen, axis=0, mode="clip", out=piece)
            decode(piece, out[lo : lo + len(chosen)])
        return len(rows)


class BatchPool:
    """Memory for batches, used again once nobody refers to it: new pages cost as much as a gather.

    CPython's reference count tells, since every view of an array (and a tensor made from it) refers
    to the array that owns the memory.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._buffers: list[np.ndarray] = []

    def take(self, n: int) -> np.ndarray:
        """Float32 [n, d_model] with arbitrary values; n is at most the rows of the pool's shape."""
        for i in range(len(self._buffers)):
            if sys.getrefcount(self._buffers[i]) == 2:  # the list's and this call's
                return self._buffers[i][:n]
        buffer = np.empty(self._shape, np.float32)
        if len(self._buffers) < BATCHES_AHEAD + 4:  # waiting, being made, and with the consumer
            self._buffers.append(buffer)
        return buffer[:n]

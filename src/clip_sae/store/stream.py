"""Serve every token of a store once per epoch, shuffled, as fast as one core can gather rows.

Feeds the training of all SAEs (§3, Eq. 3). `shuffle.py` alone decides the order: threads, resuming
and the number of reads do not change it.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing

import numpy as np

from .batches import Allocate, BatchPool, prefetched
from .errors import StoreError
from .shuffle import ShufflePlan, Window
from .windows import ChunkSource, WindowBuffer

RESIDENT_BYTES = 2**30  # a store up to this size is shuffled as a whole and read once
IMAGES_PER_BATCH_TOKEN = 4  # window size otherwise; see shuffle.py for what it buys
BATCHES_AHEAD = 2


class TokenStream:
    """Shuffled batches of tokens from a store or another `ChunkSource`.

    batch_tokens: rows per batch; the last batch of an epoch has the rest (drop_last: leaves it out)
    tokens: "all" (CLS and patches), "cls" or "patch"
    buffer_images: images shuffled together. 0: all of them if they take at most 1 GiB, else
        4 x batch_tokens. Memory is twice that many images, or once if they are the whole set.
    prefetch: read and gather in one background thread; the batches are the same without.
    threads: 1 reads in the thread that gathers; more read the chunks of a window in a pool of that
        size. The batches are the same for any number.
    raw: batches in the dtype on disk (bfloat16 as uint16 bits) instead of float32, for a consumer
        that converts them itself, as a GPU does at no cost.
    allocate: makes the memory of batches, from shape and dtype; e.g. pinned memory for a GPU. It is
        reused as soon as no array or tensor refers to it, so a consumer that copies asynchronously
        must keep the batch until the copy is done.
    """

    def __init__(
        self,
        store: ChunkSource,
        *,
        batch_tokens: int,
        seed: int,
        tokens: str = "all",
        buffer_images: int = 0,
        prefetch: bool = True,
        drop_last: bool = False,
        threads: int = 1,
        raw: bool = False,
        allocate: Allocate = np.empty,
    ) -> None:
        if threads < 1:
            raise StoreError(f"A token stream reads with threads >= 1; got {threads}.")
        if batch_tokens < 1 or seed < 0 or buffer_images < 0:
            raise StoreError(
                f"A token stream needs batch_tokens >= 1, seed >= 0 and buffer_images >= 0; got "
                f"{batch_tokens}, {seed} and {buffer_images}."
            )
        if tokens not in ("all", "cls", "patch"):
            raise StoreError(f"A token stream serves 'all', 'cls' or 'patch', not {tokens!r}.")
        self.store, self.batch_tokens, self.tokens = store, batch_tokens, tokens
        self.prefetch, self.drop_last = prefetch, drop_last
        self.threads, self._allocate = threads, allocate
        self.dtype = store.disk_dtype if raw else np.dtype(np.float32)
        tokens_per_image, d_model = store.token_shape(tokens)
        image_bytes = tokens_per_image * d_model * store.disk_dtype.itemsize
        # True if all tokens are shuffled together, a partial last chunk aside.
        self.fits = not buffer_images and store.n_images * image_bytes <= RESIDENT_BYTES
        if not buffer_images:
            buffer_images = store.n_images if self.fits else IMAGES_PER_BATCH_TOKEN * batch_tokens
        n_cls = 0 if tokens == "patch" else 1
        n_patches = tokens_per_image - n_cls
        self._plan = ShufflePlan(store.layout, n_cls, n_patches, buffer_images, seed)
        self._resident: WindowBuffer | None = None
        self._begun: WindowBuffer | None = None  # of an epoch that was left early
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
        """Yield batches [batch, d_model] in `dtype` of an epoch (0, 1, ...), from `start_batch` on.

        A batch keeps its values while anything refers to it; then its memory is reused. Batches
        before `start_batch` are neither read nor made.
        """
        self._check_position(epoch, start_batch)
        batches = self._batches(epoch, start_batch)
        return prefetched(batches, BATCHES_AHEAD) if self.prefetch else batches

    def indices(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield image row and token (CLS = 0) of each row of each batch, without reading."""
        self._check_position(epoch, 0)
        batch, first = 0, 0  # of the rows held: one window, and the rest of the one before
        image_rows, tokens = np.empty(0, np.int64), np.empty(0, np.int64)
        for window in self._plan.windows(epoch):
            order = self._plan.order(epoch, window)
            images, positions = self._plan.locate(window)
            image_rows = np.concatenate([image_rows, images[order]])
            tokens = np.concatenate([tokens, positions[order]])
            while batch < self.n_batches and self._bounds(batch)[1] <= window.stop:
                lo, hi = (position - first for position in self._bounds(batch))
                yield image_rows[lo:hi], tokens[lo:hi]
                batch += 1
            served = batch * self.batch_tokens - first
            image_rows, tokens, first = image_rows[served:], tokens[served:], first + served

    def _check_position(self, epoch: int, start_batch: int) -> None:
        if epoch < 0 or not 0 <= start_batch <= self.n_batches:
            raise StoreError(
                f"batch {start_batch} of epoch {epoch} was requested; epochs count from 0 and "
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
        readers = ThreadPoolExecutor(self.threads, "store-reader") if self.threads > 1 else None
        try:
            yield from self._serve(self._buffers(epoch, windows, readers), start_batch)
        finally:
            if readers is not None:
                readers.shutdown(cancel_futures=True)

    def _serve(self, buffers: Iterator[WindowBuffer], start_batch: int) -> Iterator[np.ndarray]:
        """Cut batches from the windows in order."""
        current, ahead = next(buffers), next(buffers, None)
        # waiting, being made, and with the consumer
        size = BATCHES_AHEAD + 4
        shape = (self.batch_tokens, self.d_model)
        pool = BatchPool(shape, self.dtype, size, self._allocate)
        try:
            for position, stop in map(self._bounds, range(start_batch, self.n_batches)):
                batch = pool.take(stop - position)
                done = 0
                while done < len(batch):
                    if position + done == current.window.stop:
                        current, ahead = ahead, next(buffers, None)
                    done += current.gather(position + done, batch[done:])
                if ahead and not ahead.reads_ahead:  # spread the reading evenly over the batches
                    ahead.load(current.progress(stop))
                yield batch
                del batch  # so that the pool sees when the consumer has dropped it
        except GeneratorExit:
            # The start of b_dec leaves early, and training then begins with the same window.
            self._begun = current if self._plan.n_windows > 1 and current.is_loaded else None
            raise
        finally:
            for buffer in filter(None, (current, ahead)):
                buffer.close()

    def _buffers(
        self, epoch: int, windows: list[Window], readers: Executor | None
    ) -> Iterator[WindowBuffer]:
        """Yield the windows' buffers in order; each is requested while the one before is served."""
        if self._plan.n_windows == 1:
            with self._lock:
                if self._resident is None:
                    buffer = WindowBuffer(self.store, self._plan, self._memory(windows), readers)
                    with closing(buffer.open(epoch, windows[0])):
                        buffer.load(1.0)
                    self._resident = buffer
                memory = self._resident.memory
            yield WindowBuffer(self.store, self._plan, memory).open(epoch, windows[0], loaded=True)
            return
        begun = self._take_begun(epoch, windows[0])
        memories = [self._memory(windows) if begun is None else begun.memory]
        memories += [self._memory(windows) for _ in windows[1:2]]
        pair = [WindowBuffer(self.store, self._plan, memory, readers) for memory in memories]
        for i, window in enumerate(windows):
            yield pair[i % 2].open(epoch, window, loaded=i == 0 and begun is not None)

    def _take_begun(self, epoch: int, window: Window) -> WindowBuffer | None:
        """Return the buffer that already holds this window of the epoch, or None."""
        with self._lock:
            begun, self._begun = self._begun, None
        same = begun is not None and (begun.epoch, begun.window.number) == (epoch, window.number)
        return begun if same else None

    def _memory(self, windows: list[Window]) -> np.ndarray:
        """Return memory for the largest window, [token, d_model]."""
        n_rows = max(window.stop - window.first for window in windows)
        return np.empty((n_rows, self.d_model), self.store.disk_dtype)

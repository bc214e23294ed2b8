"""The stages of extraction that overlap the forward pass: decoding before it, writing after it.

§4.1 (activations of ImageNet through CLIP). Decoding runs in a thread pool (Pillow releases the
GIL), writing in separate threads with bounded queues, so that memory holds a few batches.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from queue import Full, Queue

import numpy as np
import torch
from torch import Tensor

from clip_sae.clip.model import Key
from clip_sae.store import StoreWriter

BATCHES_AHEAD = 2  # decoded besides the one in the forward pass; more only costs memory
BATCHES_BEHIND = 2  # waiting for a writer
IMAGES_PER_TASK = 4  # so that submitting a task costs little next to decoding
HOST_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


class StageClock:
    """Seconds per stage, summed over the threads of a stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent


def decoded_batches(
    sources: list[tuple],
    bounds: Iterable[tuple[int, int]],
    decode: Callable[..., np.ndarray],
    image_size: int,
    *,
    workers: int,
    pinned: bool,
    clock: StageClock,
) -> Iterator[Tensor]:
    """Yield sources[start:stop] of each bounds as uint8 [image, height, width, channel], in order.

    A source holds the arguments of `decode`. The next batches are decoded meanwhile. An image that
    cannot be decoded raises the error of `decode`, which names its path.
    """

    def decode_rows(images: np.ndarray, start: int) -> None:
        with clock.time("decode"):
            for row, source in enumerate(sources[start : start + len(images)]):
                images[row] = decode(*source)

    def submit(start: int, stop: int) -> tuple[Tensor, list[Future]]:
        shape = (stop - start, image_size, image_size, 3)
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        images = batch.numpy()
        pieces = range(0, len(images), IMAGES_PER_TASK)
        return batch, [
            pool.submit(decode_rows, images[i : i + IMAGES_PER_TASK], start + i) for i in pieces
        ]

    def collect(batch: Tensor, futures: list[Future]) -> Tensor:
        with clock.time("wait_decode"):
            for future in futures:
                future.result()
        return batch

    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        waiting: deque[tuple[Tensor, list[Future]]] = deque()
        for start, stop in bounds:
            waiting.append(submit(start, stop))
            if len(waiting) > BATCHES_AHEAD:
                yield collect(*waiting.popleft())
        while waiting:
            yield collect(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class HostTokens:
    """Tokens [image, token, d_model] during the copy to the host; `ready` is None without one."""

    tokens: Tensor
    ready: torch.cuda.Event | None

    def numpy(self) -> np.ndarray:
        """Wait for the copy and return the tokens as NumPy array, bfloat16 as its bits."""
        if self.ready is not None:
            self.ready.synchronize()
        bits = self.tokens.dtype == torch.bfloat16
        return (self.tokens.view(torch.uint16) if bits else self.tokens).numpy()


def to_host(tokens: Tensor, dtype: str) -> HostTokens:
    """Cast to the store's dtype on the device, which halves the copy, and start the copy."""
    tokens = tokens.detach().to(HOST_DTYPES[dtype])
    if tokens.device.type != "cuda":
        return HostTokens(tokens.cpu(), None)
    host = torch.empty(tokens.shape, dtype=tokens.dtype, pin_memory=True)
    host.copy_(tokens, non_blocking=True)
    ready = torch.cuda.Event()
    ready.record()
    return HostTokens(host, ready)


class _Abort(Exception):
    """Raised inside a writer thread to leave its open range unwritten."""


class WriterThread:
    """Writes some of the stores, range by range, in its own thread.

    Per range: `begin`, `put` once per batch, `commit`. The next call of one of them, or the end of
    the context, raises an error of the thread. An error in the context drops the open range.
    """

    def __init__(self, writers: Mapping[Key, StoreWriter], clock: StageClock) -> None:
        self._writers, self._clock = writers, clock
        self._queue: Queue = Queue(maxsize=BATCHES_BEHIND)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._running = self._pool.submit(self._run)

    def begin(self, k: int, keys: Iterable[Key]) -> None:
        """Open range `k` of those of `keys` that this thread writes."""
        self._send((k, [key for key in keys if key in self._writers]))

    def put(self, tokens: Mapping[Key, HostTokens]) -> None:
        """Append a batch to the open range."""
        self._send({key: value for key, value in tokens.items() if key in self._writers})

    def commit(self) -> None:
        """Finish the open range."""
        self._send("commit")

    def __enter__(self) -> "WriterThread":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        """End the thread; an error removes the open range."""
        with self._clock.time("wait_write"):
            self._offer("stop" if kind is None else "abort")
            self._pool.shutdown()
        if kind is None:
            self._running.result()

    def _send(self, item: object) -> None:
        with self._clock.time("wait_write"):
            accepted = self._offer(item)
        if not accepted:
            self._running.result()  # the thread has ended with an error, which this raises

    def _offer(self, item: object) -> bool:
        """Queue `item`; return False if the thread has ended."""
        while not self._running.done():
            try:
                self._queue.put(item, timeout=0.2)
            except Full:
                continue
            return True
        return False

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) != "stop":
                if item == "abort":
                    return
                self._write_range(*item)
        except _Abort:
            return

    def _write_range(self, k: int, keys: list[Key]) -> None:
        with ExitStack() as stack:
            opened = {key: stack.enter_context(self._writers[key].range(k)) for key in keys}
            while (item := self._queue.get()) != "commit":
                if item == "abort":
                    raise _Abort
                for key, host in item.items():
                    with self._clock.time("wait_forward"):
                        tokens = host.numpy()  # [image token d_model]
                    # learned prompts come last, and have a separate array
                    n = tokens.shape[1] - self._writers[key].layout.n_prompts
                    prompt = tokens[:, n:] if n < tokens.shape[1] else None
                    with self._clock.time("write"):
                        opened[key].put(cls=tokens[:, 0], patch=tokens[:, 1:n], prompt=prompt)
            with self._clock.time("write"):
                stack.close()  # commits, with its fsync

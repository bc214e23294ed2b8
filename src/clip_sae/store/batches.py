"""A background thread that makes batches ahead of their consumer, and reusable memory for them.

Feeds the training of all SAEs (§3, Eq. 3); no equation of its own.
"""

import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import TypeVar

import numpy as np

from .errors import StoreError

T = TypeVar("T")
Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]


class BatchPool:
    """A few buffers of one shape and dtype, made by `allocate`; new pages cost as much as a gather.

    A buffer is free when CPython's reference count says so: every view of an array (and a tensor
    made from it) refers to the array that owns the memory.
    """

    def __init__(
        self, shape: tuple[int, int], dtype: np.dtype, size: int, allocate: Allocate = np.empty
    ) -> None:
        self._shape, self._dtype, self._size, self._allocate = shape, dtype, size, allocate
        self._buffers: list[np.ndarray] = []

    def take(self, n: int) -> np.ndarray:
        """Return [n, d_model] with arbitrary values; n is at most the rows of the pool's shape."""
        for i in range(len(self._buffers)):
            if sys.getrefcount(self._buffers[i]) == 2:  # the list's and this call's
                return self._buffers[i][:n]
        # A view of a view refers to the array at the root. Behind a memoryview this is the root,
        # whatever the caller's array is a view of.
        buffer = np.asarray(memoryview(self._allocate(self._shape, self._dtype)))
        if (buffer.shape, buffer.dtype) != (self._shape, self._dtype) or not buffer.flags.writeable:
            raise StoreError(
                f"`allocate` gave {buffer.dtype} {list(buffer.shape)}; a batch needs writable "
                f"{self._dtype} {list(self._shape)}."
            )
        if len(self._buffers) < self._size:
            self._buffers.append(buffer)
        return buffer[:n]


def prefetched(items: Iterator[T], ahead: int) -> Iterator[T]:
    """Yield the same items in the same order, made in a thread, at most `ahead` of them waiting.

    An exception of the producer is raised where its item would have come. Ending early stops the
    thread before the next item, and closes `items` if that is a generator.
    """
    waiting: queue.Queue = queue.Queue(maxsize=ahead)
    stopped = threading.Event()

    def produce() -> None:
        try:
            for item in items:
                waiting.put((item, None))
                if stopped.is_set():
                    return
            waiting.put((None, StopIteration()))
        except BaseException as error:  # handed over: the consumer raises it
            waiting.put((None, error))

    thread = threading.Thread(target=produce, name="token-stream", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stopped.set()
        while thread.is_alive():  # make room, in case the thread waits to put
            with suppress(queue.Empty):
                while True:
                    waiting.get_nowait()
            thread.join(timeout=0.05)
        if isinstance(items, Generator):
            items.close()

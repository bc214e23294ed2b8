"""One background thread that stays a few items ahead of the consumer. No paper section."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")


def prefetched(items: Iterator[T], ahead: int) -> Iterator[T]:
    """The same items in the same order, made in a thread, at most `ahead` of them waiting.

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
            _drain(waiting)
            thread.join(timeout=0.05)
        if isinstance(items, Generator):
            items.close()


def _drain(waiting: queue.Queue) -> None:
    while True:
        try:
            waiting.get_nowait()
        except queue.Empty:
            return

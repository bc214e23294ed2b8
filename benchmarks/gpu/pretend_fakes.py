"""Replacements of torch.cuda's functions on the pretend device, a GPU without queues."""

import time
from contextlib import nullcontext
from types import SimpleNamespace

import torch

DEVICE_NAME = "pretend"


class Event:
    """A point in time, by the host's clock: nothing runs behind the host."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.seconds = 0.0

    def record(self, *args: object) -> None:
        """Note the time."""
        self.seconds = time.perf_counter()

    def query(self) -> bool:
        """Everything before it is done."""
        return True

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def elapsed_time(self, other: "Event") -> float:
        """Return the milliseconds until `other`."""
        return 1e3 * (other.seconds - self.seconds)


class Stream:
    """The one queue, which is always empty."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.device = torch.device("cuda:0")

    def wait_stream(self, other: "Stream") -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""


def _nothing(*args: object, **kwargs: object) -> None:
    """Take any arguments and do nothing."""


def _zero(*args: object, **kwargs: object) -> int:
    return 0


def _yes(*args: object, **kwargs: object) -> bool:
    return True


# Name in torch.cuda, and its replacement.
FAKES = {
    "_lazy_init": _nothing,
    "is_available": _yes,
    "is_initialized": _yes,
    "is_bf16_supported": _yes,
    "device_count": lambda: 1,
    "current_device": _zero,
    "set_device": _nothing,
    "synchronize": _nothing,
    "empty_cache": _nothing,
    "reset_peak_memory_stats": _nothing,
    "max_memory_allocated": _zero,
    "memory_reserved": _zero,
    "set_per_process_memory_fraction": _nothing,
    "get_device_name": lambda *args: DEVICE_NAME,
    "get_device_properties": lambda *args: SimpleNamespace(name=DEVICE_NAME, total_memory=2**34),
    "current_stream": lambda *args: Stream(),
    "stream": lambda stream: nullcontext(),
    "Event": Event,
    "Stream": Stream,
}

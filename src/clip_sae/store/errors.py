"""Errors of a store: each message says what was found and what to do next.

Serves every analysis of the paper (§4-§7); no equation of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StoreError(ValueError):
    """An error in an activation store, or in the use of one."""


class StoreIncomplete(StoreError):
    """The store, or the requested range, is not completely written yet."""


class StoreDamaged(StoreError):
    """A file of the store is missing, short, or fails its checksum.

    chunk, images, problem: position and kind of damage within a shard file.
    """

    def __init__(
        self, message: str, *, chunk: int | None = None, images: str = "", problem: str = ""
    ) -> None:
        super().__init__(message)
        self.chunk, self.images, self.problem = chunk, images, problem


class StoreMismatch(StoreError):
    """The folder holds a store made from another spec, layout, or other inputs."""


class ActivationOverflow(StoreError):
    """An activation is not finite, or does not fit the dtype of the store."""


class StoreNotWritten(StoreError):
    """The disk refused a write: it is full, over a quota, or broken."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write (OSError) into a StoreNotWritten: the file, and what to do."""
    try:
        yield
    except OSError as error:
        raise StoreNotWritten(
            f"{path} cannot be written ({error.strerror}). Make room or fix the disk and run "
            "snakemake again: finished ranges are kept, this one is written again."
        ) from error

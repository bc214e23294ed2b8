"""Checking one range of a store on disk, down to every chunk, and letting a run write it again.

No equation of its own: it guards the residuals behind every number of the paper.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import StoreDamaged
from .files import ACTS
from .layout import ArrayLayout, StoreLayout
from .packed_shard import shard_reader
from .parts import part_path, read_part, withdraw


@dataclass(frozen=True)
class Damage:
    """One fault. range: None if it concerns the whole store; chunk: within the range's file."""

    file: Path
    problem: str
    range: int | None = None
    chunk: int | None = None
    images: str = ""

    def __str__(self) -> str:
        where = [f"range {self.range}"] if self.range is not None else []
        where += [f"chunk {self.chunk}"] if self.chunk is not None else []
        where += [self.images] if self.images else []
        place = f" ({', '.join(where)})" if where else ""
        return f"{self.file}{place}: {self.problem}"


def check_range(
    store: Path, layout: StoreLayout, k: int, spec_digest: str, *, full: bool = True
) -> tuple[list[Damage], int]:
    """Everything wrong with the part file and the shards of range `k`, and the bytes read for it.

    Index and size always; with `full` each chunk against its crc32c and the part file's.
    """
    damages: list[Damage] = []
    known: dict[str, list[int]] = {}
    try:
        part = read_part(store, layout, k, spec_digest)
        known = {entry["array"]: entry["chunk_crc32c"] for entry in part["files"]}
    except (StoreDamaged, KeyError, TypeError) as error:
        damages.append(Damage(part_path(store, k), str(error), k))
    arrays = layout.arrays.values()
    n = sum(_check_shard(store, array, k, known.get(array.name), full, damages) for array in arrays)
    return damages, n


def forget_range(store: Path, k: int) -> None:
    """Let the next run write range `k` again: nothing then says that it, or the store, is done."""
    withdraw(store, k)


def _check_shard(
    store: Path,
    array: ArrayLayout,
    k: int,
    known: list[int] | None,
    full: bool,
    damages: list[Damage],
) -> int:
    """Add what is wrong with one shard file; returns the bytes of activations read."""
    file = store / ACTS / array.shard_file(k)

    def note(problem: str, chunk: int | None = None, images: str = "") -> None:
        damages.append(Damage(file, problem, k, chunk, images))

    try:
        shard = shard_reader(store, array, k, known)
    except StoreDamaged as error:
        note(error.problem, images=error.images)
        return 0
    if not full:
        return 0
    whole = np.empty((array.chunk_images, *array.row_shape), array.disk_dtype)
    for chunk in range(array.shard_chunks(k)):
        try:
            shard.read_chunk(chunk, whole)
        except StoreDamaged as error:
            note(error.problem, chunk, error.images)
    return array.shard_chunks(k) * array.chunk_bytes

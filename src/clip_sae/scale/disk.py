"""Bytes on disk at peak, beside what the file system has, and what to do where it is too small."""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clip_sae.planning.turns import Turn


@dataclass(frozen=True)
class Disk:
    """Bytes. `peaks`: at most on disk at once beyond what is there now, by how stores are kept:
    {"kept", "temporary", "layers_at_once: N"}. `others`: SAEs and the like, part of every peak.
    `there`: complete stores that are there already. `free`: of the results' file system.
    `mode`: the key of `peaks` that the config asks for. `streamable`: stores to be made that only
    trainings read. `layers`: of how many layers stores are to be made.
    """

    peaks: Mapping[str, int]
    others: int
    there: int
    free: int
    mode: str
    streamable: int = 0
    layers: int = 0

    @property
    def missing(self) -> int:
        """Bytes by which the file system is too small; 0 or less where it is large enough."""
        return self.peaks[self.mode] - self.free


def free_bytes(folder: Path) -> int:
    """Free bytes of the file system of `folder`, which need not exist yet."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def peak_of_turns(sizes: Mapping[str, int], places: Mapping, cut: Iterable[Turn]) -> int:
    """The largest turn of each split, together: splits do not wait for each other.

    Args:
        sizes: {store: bytes} of what is to be made. places: {store: ((data set, split), layer)}.
    """
    largest: dict[tuple[str, str], int] = {}
    for turn in cut:
        together = sum(
            size
            for store, size in sizes.items()
            if places[store][0] == turn.split and places[store][1] in turn.layers
        )
        largest[turn.split] = max(largest.get(turn.split, 0), together)
    return sum(largest.values())


def advice(disk: Disk, block: Mapping, results: str) -> list[str]:
    """What makes the disk large enough, smallest change first; bytes where they are known."""
    found = []
    best = min(disk.peaks, key=disk.peaks.__getitem__)
    if disk.peaks[best] < disk.peaks[disk.mode]:
        fits = "fits" if disk.peaks[best] <= disk.free else "is still too much"
        found.append(
            f"activations.{best} needs {gigabytes(disk.peaks[best])} at peak, which {fits}"
            if best != "temporary"
            else "activations.temporary: true"
        )
    if block["dtype"] == "float32":
        found.append("activations.dtype: float16 halves every store")
    if disk.layers > 1:
        found.append(
            "fewer `layers`, in activations and in the recipes: a store belongs to one layer"
        )
    if disk.streamable:
        found.append(
            "`stream: true` in recipes trains them without a store: of what the config asks for, "
            f"{gigabytes(disk.streamable)} are read by trainings only"
        )
    found.append(f"another disk: `results` ({results}) may be a path anywhere, or a link to one")
    if os.path.isdir(os.path.join(results, "activations")):
        found.append("`python -m clip_sae gc` lists what no config needs any more")
    return found


def gigabytes(n: float) -> str:
    """Bytes as text with a unit, decimal: 98.4 GB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.3g} {unit}" if n < 1000 * size else f"{n / size:,.0f} {unit}"
    return f"{n / 1e3:.3g} kB"

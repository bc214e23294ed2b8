"""Results of blocks of units on disk, so that a measurement resumes and splits over jobs.

No equation. A block is as large whoever computes it, and the whole is always put together from
blocks in their order: neither an interruption nor the number of jobs changes a bit of it.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from clip_sae.npz import write_arrays
from clip_sae.planning.specs import digest

IDENTITY = "__identity__"
Arrays = dict[str, np.ndarray]


class Blocks:
    """Blocks in a folder; computed where they are not there.

    Args:
        folder: of the blocks; None keeps nothing.
        identity: what the values depend on beyond the folder's name, such as the fingerprints of
            data and of code: a block that was made from something else is made again.
    """

    def __init__(self, folder: Path | None = None, identity: object = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._identity = digest(identity)

    def get(self, name: str, make: Callable[[], Mapping[str, np.ndarray]]) -> Arrays:
        """The arrays of one block, read or made (and then kept); objects are not allowed."""
        if self.folder is None:
            return dict(make())
        path = self.folder / f"{name}.npz"
        found = self._read(path)
        if found is None:
            found = dict(make())
            write_arrays(path, {**found, IDENTITY: np.array(self._identity)})
        return found

    def _read(self, path: Path) -> Arrays | None:
        """The block, or None where it is missing, not whole, or of something else."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                if str(arrays[IDENTITY]) != self._identity:
                    return None
                return {name: arrays[name] for name in arrays.files if name != IDENTITY}
        except Exception:  # a bit of a zip changed: its reader raises nearly anything
            return None

    def clear(self) -> None:
        """Delete the blocks, whose whole is made."""
        if self.folder is not None:  # with what a killed writer left half-written
            shutil.rmtree(self.folder, ignore_errors=True)

"""Results of chunks of units on disk, so that a measurement resumes and splits over jobs.

No equation. The size of a chunk does not depend on the job, and chunks are always joined in their
order, so neither an interruption nor the number of jobs changes a bit of the result.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from clip_sae.npz import write_arrays
from clip_sae.planning.specs import digest

IDENTITY = "__identity__"
Arrays = dict[str, np.ndarray]


class Chunks:
    """Chunks in a folder, each computed on its first use.

    Args:
        folder: of the chunks; None keeps nothing.
        identity: inputs of the values that the folder's name lacks, such as the fingerprints of
            data and of code. A chunk of another identity is computed again.
    """

    def __init__(self, folder: Path | None = None, identity: object = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._identity = digest(identity)

    def get(self, name: str, make: Callable[[], Mapping[str, np.ndarray]]) -> Arrays:
        """Return one chunk: from disk, or from `make`, then stored; no object arrays."""
        if self.folder is None:
            return dict(make())
        path = self.folder / f"{name}.npz"
        found = self._read(path)
        if found is None:
            found = dict(make())
            write_arrays(path, {**found, IDENTITY: np.array(self._identity)})
        return found

    def _read(self, path: Path) -> Arrays | None:
        """Return the chunk, or None if it is missing, torn, or of another identity."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                if str(arrays[IDENTITY]) != self._identity:
                    return None
                return {name: arrays[name] for name in arrays.files if name != IDENTITY}
        except Exception:  # the reader of a damaged zip raises nearly anything
            return None

    def clear(self) -> None:
        """Delete all chunks, once the result is published."""
        if self.folder is not None:  # also the partial files of a killed writer
            shutil.rmtree(self.folder, ignore_errors=True)

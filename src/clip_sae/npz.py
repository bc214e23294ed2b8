"""Read and write .npz files of plain arrays, which pass measurements from one job to the next.

An array of objects is a pickle, which can run code when it is read, and a results folder may come
from elsewhere: such a file is refused with an error that names it.
"""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from clip_sae.planning.specs import write_bytes


class ArrayFileError(ValueError):
    """A file that holds no plain arrays; the message names it."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed .npz file, whole or not at all; equal arrays, equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(Path(path), buffer.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of an .npz file by name.

    Raises FileNotFoundError, and ArrayFileError for a file that is damaged, is not .npz, or holds
    Python objects, which are never created.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (AttributeError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as e:
        reason = " ".join(str(e).split())
        raise ArrayFileError(
            f"{path} cannot be read as plain arrays ({reason}). Python objects are never read from "
            "a file, because they can run code. Delete it and run snakemake again."
        ) from e

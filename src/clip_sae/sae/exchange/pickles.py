"""torch.save files: tensors are read plainly, other Python objects only on request and inert.

A pickle can run code when it is read. `torch.load(weights_only=True)` refuses every name outside
torch's own list; with the user's consent each such name is replaced here by an empty record class,
so that a checkpoint's settings can be looked at without its project and without running anything.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import IO

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from clip_sae.sae.files import SaeFileError

# What torch's guarded reader raises for files that are damaged, or made to confuse it.
BROKEN = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError),
    *(AttributeError, LookupError, TypeError),
)


class Record:
    """An object of an unknown class: keeps its attributes and does nothing."""

    def __init__(self, *arguments: object, **options: object) -> None:
        self.arguments = arguments


def foreign_names(path: Path) -> list[str]:
    """Return the dotted names in a torch.save file that torch refuses to read."""
    if not zipfile.is_zipfile(path):
        raise SaeFileError(
            f"{path} is not a file of torch.save (torch 1.6 or later). It may be incomplete: "
            f"compare its size with the original's."
        )
    try:
        return sorted(get_unsafe_globals_in_checkpoint(path))
    except BROKEN as error:
        raise SaeFileError(f"{path} is damaged ({error}); copy or download it again.") from error


def load_checkpoint(path: Path, *, allow_pickle: bool) -> object:
    """Return the content of a torch.save file, on the CPU.

    Raises SaeFileError where it holds objects other than tensors and plain values and
    `allow_pickle` is false, and where it is damaged.
    """
    names = foreign_names(path)
    if names and not allow_pickle:
        raise SaeFileError(
            f"{path} is a pickle with Python objects next to its tensors: {', '.join(names)}. If "
            f"you trust its origin, add --allow-pickle: they are then read as plain records."
        )
    # One class per name: the reader tells projects apart by it.
    records = [(type(name.rpartition(".")[2], (Record,), {}), name) for name in names]
    with safe_globals(records):
        return load_tensors(path, path)


def load_tensors(file: Path | IO[bytes], path: Path) -> object:
    """Return tensors and plain values of a torch.save file or stream; `path` is for errors."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except BROKEN as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SaeFileError(f"{path} cannot be read ({reason}).") from error


def settings_of(value: object, path: Path) -> dict:
    """Return the settings of a pickled config: a dict, or the attributes of a record."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Record):
        return {key: item for key, item in vars(value).items() if key != "arguments"}
    raise SaeFileError(f"{path}: its settings are a {type(value).__name__}; expected an object.")

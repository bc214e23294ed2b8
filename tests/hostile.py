"""Files that would run code if they were unpickled: each leaves a mark that tests check."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch


class Payload:
    """Pickles as a call that creates the file `mark`."""

    def __init__(self, mark: Path):
        self.mark = str(mark)

    def __reduce__(self):
        return exec, (f"open({self.mark!r}, 'w').close()",)


class Stumble:
    """Stops torch's guarded reader with a TypeError, while plain pickle reads on."""

    def __reduce__(self):
        return OrderedDict, (), (None, {})


def write_checkpoint(path: Path, mark: Path, tensors: dict | None = None) -> Path:
    """Write a torch.save file of tensors with the payload behind them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": tensors or {}, "settings": Payload(mark)}, path)
    return path


def write_stumbling_checkpoint(path: Path, mark: Path) -> Path:
    """Write a checkpoint on which the guarded reader fails before the payload."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"first": Stumble(), "settings": Payload(mark)}, path)
    return path


def write_legacy_checkpoint(path: Path, mark: Path) -> Path:
    """Write a checkpoint in the format of torch before 1.6: bare pickles, no archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"settings": Payload(mark)}, path, _use_new_zipfile_serialization=False)
    return path


def write_npz(path: Path, mark: Path, **arrays: object) -> Path:
    """Write an .npz whose array `words` holds objects, the payload among them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, words=np.array([Payload(mark), "dog"], dtype=object), **arrays)
    return path

"""Records of arrays by name, e.g. one per SAE, as one .npz.

No equation: the files in which one job hands measurements to others.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from clip_sae.npz import read_arrays, write_arrays

Record = TypeVar("Record")


def write_records(path: Path, records: Mapping[str, object]) -> None:
    """Write {name: record}; a record is a dataclass of arrays."""
    arrays = {
        f"{name}|{field.name}": getattr(record, field.name)
        for name, record in records.items()
        for field in fields(record)
    }
    write_arrays(path, arrays)


def read_records(path: Path, kind: type[Record]) -> dict[str, Record]:
    """Read what `write_records` wrote of records of one kind."""
    arrays = read_arrays(path)
    names = dict.fromkeys(key.rpartition("|")[0] for key in arrays)
    return {
        name: kind(**{f.name: arrays[f"{name}|{f.name}"] for f in fields(kind)}) for name in names
    }

"""The measured tables on disk: CSV, compressed where units are many, whole files, same bytes again.

Eq. 5 for 49,152 latents of twelve layers at two strengths makes a million rows.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clip_sae.specs import write_bytes

TABLES = {"units": "units.csv.gz", "layer": "layer.csv", "grid": "grid.csv.gz"}


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV, gzip-compressed if its name ends in ".gz", with seven digits."""
    _write(Path(path), table.to_csv(index=False, float_format="%.7g").encode())


def gather_tables(paths: Sequence[Path], path: Path) -> int:
    """Put the rows of CSVs with one header into the CSV `path`; return how many there are.

    The lines are copied as they are. Raises ValueError if a header differs.
    """
    parts = [_read(Path(part)).splitlines(keepends=True) for part in paths]
    odd = [str(part) for part, lines in zip(paths, parts, strict=True) if lines[0] != parts[0][0]]
    if odd:
        raise ValueError(
            f"{odd[0]} has other columns than {paths[0]}, so one of them was measured by other "
            "code. Delete both and run snakemake again."
        )
    rows = [line for lines in parts for line in lines[1:]]
    _write(Path(path), b"".join([parts[0][0], *rows]))
    return len(rows)


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def _write(path: Path, content: bytes) -> None:
    # Without the time of writing in its header, so that the same table is the same bytes.
    write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)

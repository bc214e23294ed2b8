"""The measured tables on disk: their names, and how those of several measurements become one.

Eq. 5 for 49,152 latents of twelve layers at two strengths makes a million rows. No torch.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path

TABLES = {"units": "units.csv.gz", "layer": "layer.csv", "grid": "grid.csv.gz"}


def strength_name(strength: float) -> str:
    """Name of a strength in the tables: "150.0", "inf"."""
    return str(float(strength))


def gather_tables(paths: Sequence[Path]) -> tuple[bytes, int]:
    """Put the rows of CSVs with one header together; return the CSV and the number of its rows.

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
    return b"".join([parts[0][0], *rows]), len(rows)


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content

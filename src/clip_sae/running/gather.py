"""Gather measured rows into one table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd


def gather_rows(
    job,
    *,
    rows: Sequence[Path],
    file: str = "",
    where: dict | None = None,
    drop: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the rows of several CSVs as one table.

    Args:
        rows: the CSVs, or folders that hold one called `file`.
        where: {column: value} that a row must have.
        drop: columns to leave out.
    """
    paths = [path / file if file else path for path in rows]
    table = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    for column, value in (where or {}).items():
        table = table[table[column] == value]
    return table.drop(columns=list(drop))

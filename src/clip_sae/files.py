"""Write the result of a step's function: a table, a text, or bytes.

Each file is whole or absent. Part of every step's code digest, because it decides the bytes.
"""

import gzip
from pathlib import Path

import pandas as pd

from clip_sae.planning.specs import write_bytes


def csv_text(table: pd.DataFrame, digits: int | None = None) -> str:
    """Return a table as CSV, floats with `digits` significant digits or as they are."""
    return table.to_csv(index=False, float_format=None if digits is None else f"%.{digits}g")


def write_output(path: Path, content: object) -> dict:
    """Write one returned value to `path`; return facts for the record (the number of rows).

    Args:
        path: compressed if its name ends in ".gz", without a time in the header, so that equal
            tables give equal bytes.
        content: a DataFrame, text or bytes.

    Raises:
        TypeError: the value is none of these.
    """
    facts = {}
    if isinstance(content, pd.DataFrame):
        facts["rows"] = len(content)
        content = csv_text(content)
    if isinstance(content, str):
        content = content.encode()
    if not isinstance(content, bytes):
        raise TypeError(f"a step returned {type(content).__name__} for {path}")
    path = Path(path)
    write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return facts

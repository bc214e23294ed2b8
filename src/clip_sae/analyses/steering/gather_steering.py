"""Put the tables of all layers and kinds of unit together."""

from collections.abc import Sequence
from pathlib import Path

from clip_sae.analyses.steering.tables import TABLES, gather_tables


def gather_steering(job, *, folders: Sequence[Path], table: str) -> bytes:
    """Return one table ("units", "layer" or "grid") of several measurements as CSV."""
    content, job.facts["rows"] = gather_tables([folder / TABLES[table] for folder in folders])
    return content

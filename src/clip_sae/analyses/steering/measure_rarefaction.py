"""Concept coverage of random parts of the units, per kind and layer."""

from pathlib import Path

import pandas as pd

from clip_sae.analyses.steering.rarefaction import rarefaction_table
from clip_sae.analyses.steering.tables import strength_name
from clip_sae.files import csv_text

COLUMNS = ["layer", "kind", "label", "strength", "steerability", "top_words"]


def measure_rarefaction(job, *, units: Path, strength: float, gamma: float, seed: int) -> str:
    """Return `rarefaction_table` as CSV; a unit names its word if S > gamma at `strength`."""
    rows = pd.read_csv(units, usecols=COLUMNS, dtype={"strength": str})
    table = rarefaction_table(rows, strength=strength_name(strength), beta=gamma, seed=seed)
    job.facts["rows"] = len(table)
    return csv_text(table, digits=7)

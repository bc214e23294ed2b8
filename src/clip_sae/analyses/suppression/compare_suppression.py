"""Table 1: neurons next to the SAE picked on validation, layer by layer, all data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.suppression.tables import table1


def compare_suppression(
    job, *, summaries: Mapping[str, Path], columns: Mapping[str, Sequence[Sequence[str]]]
) -> pd.DataFrame:
    """Return Table 1, both arguments by data set; `columns` are pairs of a column and its SAE."""
    return table1(
        {name: pd.read_csv(path) for name, path in summaries.items()},
        {name: dict(pairs) for name, pairs in columns.items()},
    )

"""What was chosen at every layer of one data set, with its test numbers; Tables 5 to 8."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.suppression.bits import read_bits
from clip_sae.analyses.suppression.summary import summarise_layer
from clip_sae.analyses.suppression.tables import condition_table


def choose_suppression(job, *, layers: Sequence[Path], resamples: int, seed: int) -> pd.DataFrame:
    """Return the rows of `summarise_layer` for the folders of all layers."""
    return summary_of(layers, n_resamples=resamples, seed=seed)


def summary_of(folders: Sequence[Path], **options: int) -> pd.DataFrame:
    """Return the summaries of some evaluated layers in one table.

    Args:
        folders: with rows.csv, chosen.csv and bits.npz; options: of `summarise_layer`.
    """
    parts = [
        summarise_layer(
            pd.read_csv(folder / "rows.csv"),
            pd.read_csv(folder / "chosen.csv"),
            read_bits(folder / "bits.npz"),
            **options,
        )
        for folder in folders
    ]
    return pd.concat(parts, ignore_index=True)


def condition_rows(
    job, *, summary: Path, condition: str, columns: Sequence[Sequence[str]]
) -> pd.DataFrame:
    """Return one of Tables 5 to 8; `columns` are pairs of a table's column and its SAE."""
    # pandas' default parser may miss the last bit of a number, which would then show here.
    table = pd.read_csv(summary, float_precision="round_trip")
    return condition_table(table, condition, dict(columns))

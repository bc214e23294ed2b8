"""Shares of the gain with their intervals, and the tables of classes and latents, all methods."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.analyses.changes.cells import CELLS
from clip_sae.analyses.changes.shares import seeds_stacked, share_table
from clip_sae.files import csv_text
from clip_sae.npz import read_arrays


def summarise_changes(
    job, *, measured: Mapping[str, Mapping[str, Path]], resamples: int, seed: int
) -> dict[str, str]:
    """Return {"shares", "classes", "latents"} as CSV with seven digits.

    `measured`: {data set: {method: folder of `measure_changes`}}.
    """
    found = {"shares": [], "classes": [], "latents": []}
    for dataset, methods in measured.items():
        for method, folder in methods.items():
            names = {"dataset": dataset, "method": method}
            shares = _shares(folder, resamples, seed)
            found["shares"] += [table.assign(**names) for table in shares]
            for name in ("classes", "latents"):
                found[name].append(pd.read_csv(folder / f"{name}.csv").assign(**names))
    return {name: _names_first(tables) for name, tables in found.items()}


def _shares(folder: Path, resamples: int, seed: int) -> list[pd.DataFrame]:
    """Return the shares of one adaptation: of the base classes, then of the novel ones."""
    answers, tables = read_arrays(folder / "answers.npz"), []
    for which in ("base", "novel"):
        keys = [key.split("|") for key in answers if key.startswith(f"{which}|")]
        seeds = dict.fromkeys(key[1] for key in keys if len(key) == 3)
        right = seeds_stacked(
            [{c.name: answers[f"{which}|{one}|{c.name}"] for c in CELLS} for one in seeds]
        )
        table = share_table(right, n_resamples=resamples, seed=seed)
        table.insert(0, "classes", which)
        tables.append(table)
    return tables


def _names_first(tables: list[pd.DataFrame]) -> str:
    """Return tables as one CSV whose first columns are dataset and method."""
    table = pd.concat(tables, ignore_index=True)
    first = ["dataset", "method"]
    return csv_text(table[first + [c for c in table if c not in first]], digits=7)

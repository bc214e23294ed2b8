"""Render base-to-novel accuracies as Markdown."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.analyses.adaptation.draw_accuracies import LAYOUT, printed
from clip_sae.plotting import tables


def accuracy_table(job, *, csv: Path, model: str, shots: int, kinds: Mapping[str, str]) -> str:
    """Return the accuracies of all methods as Markdown."""
    layout = tables.described(LAYOUT, model=model, shots=str(shots))
    return tables.to_markdown(printed(pd.read_csv(csv), kinds), None, layout)

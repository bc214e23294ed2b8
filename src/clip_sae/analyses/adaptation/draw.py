"""Draw the accuracies of the frozen model and of every adaptation."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from clip_sae.analyses.adaptation.draw_accuracies import draw_adaptation


def accuracies(job, *, accuracies: Path, runs: Path, kinds: Mapping[str, str]) -> Figure:
    """Draw accuracies on base and novel classes, with intervals and every run."""
    return draw_adaptation(pd.read_csv(accuracies), pd.read_csv(runs), kinds)

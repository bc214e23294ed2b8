"""Draw firing rates and training curves."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from clip_sae.analyses.firing.draw_curves import draw_training_curves
from clip_sae.analyses.firing.draw_firing import draw_firing


def firing(job, *, csv: Path) -> Figure:
    """Draw the firing-rate histograms of all SAEs."""
    return draw_firing(pd.read_csv(csv))


def training_curves(job, *, csv: Path) -> Figure:
    """Draw the training curves of all SAEs."""
    return draw_training_curves(pd.read_csv(csv))

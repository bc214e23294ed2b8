"""Draw the lr x l1 sweep."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from clip_sae.analyses.sweep.draw_sweep import draw_sweep


def sweep(job, *, csv: Path) -> Figure:
    """Draw explained variance, L0 and alive latents over the grid."""
    return draw_sweep(pd.read_csv(csv))

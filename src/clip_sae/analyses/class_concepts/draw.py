"""Draw accuracy against the number of latents that are kept, or taken out."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from clip_sae.analyses.class_concepts.draw_curves import draw_class_concepts


def class_concepts(job, *, csv: Path) -> Figure:
    """Draw the curves of every edit."""
    return draw_class_concepts(pd.read_csv(csv))

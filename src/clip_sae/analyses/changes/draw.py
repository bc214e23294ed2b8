"""Draw what adaptation changes: accuracies of the crossings, latents, overlaps."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from clip_sae.analyses.changes.draw_changes import draw_changes


def changes(job, *, shares: Path, classes: Path, latents: Path, kinds: Mapping[str, str]) -> Figure:
    """Draw crossings, changed latents and overlaps, four panels for each data set."""
    paths = {"shares": shares, "classes": classes, "latents": latents}
    return draw_changes({name: pd.read_csv(path) for name, path in paths.items()}, kinds=kinds)

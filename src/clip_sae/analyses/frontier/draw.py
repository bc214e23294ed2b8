"""Draw the frontier of all architectures, and read it at equal L0."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from clip_sae.analyses.frontier.curves import at_equal_l0, over_seeds
from clip_sae.analyses.frontier.draw_frontier import draw_frontier, to_markdown


def frontier(job, *, csv: Path) -> Figure:
    """Draw explained variance and recovered cross-entropy against L0."""
    return draw_frontier(over_seeds(pd.read_csv(csv)))


def frontier_markdown(job, *, csv: Path, model: str, levels: Sequence[float]) -> str:
    """Return every architecture's quality at equal L0 as Markdown."""
    points = pd.read_csv(csv)
    [n_images] = points["n_images"].unique()
    [layer], [hook] = points["layer"].unique(), points["hook"].unique()
    return to_markdown(
        at_equal_l0(points, levels),
        caption="Explained variance and recovered cross-entropy (percent) at equal L0: SAEs on "
        f"{hook} of layer {layer}, {model}, {n_images:,} held-out images. Mean over seeds "
        "[least, greatest]; linear in log L0 between neighbouring SAEs of a seed.",
    )

"""Render the shares of the gain and the overlap of the strongest latents as Markdown."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.analyses.changes.draw_changes import changes_markdown


def share_tables(
    job,
    *,
    shares: Path,
    classes: Path,
    model: str,
    sae: str,
    layer: int,
    strongest: int,
    kinds: Mapping[str, str],
) -> str:
    """Return both tables as Markdown; the values are for names and captions."""
    caption = {"model": model, "sae": sae, "layer": layer, "strongest": strongest, "kinds": kinds}
    return changes_markdown(pd.read_csv(shares), pd.read_csv(classes), **caption)

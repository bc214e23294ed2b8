"""The quality of latents, as Markdown."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.analyses.quality.render_quality import quality_markdown
from clip_sae.analyses.quality.stability import over_seeds


def quality(job, *, csv: Path, caption: Mapping, seeds: bool) -> str:
    """Return the Markdown of a table; with `seeds`, of means over seeds."""
    table = pd.read_csv(csv)
    return quality_markdown(over_seeds(table) if seeds else table, caption, seeds=seeds)

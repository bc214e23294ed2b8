"""Render the layers' steerability next to the paper's numbers, as Markdown and HTML."""

from pathlib import Path

import pandas as pd

from clip_sae.analyses.steering.render_layers import render_html, render_markdown, sections
from clip_sae.plotting.tables import read_paper


def steerability_layers(
    job,
    *,
    layers: Path,
    paper: Path,
    strength: float,
    gamma: float,
    model: str,
    vocabulary: str,
    sampling: str,
) -> dict[str, str]:
    """Return {"md", "html"}; `model`, `vocabulary` and `sampling` stand in the captions."""
    tables = sections(
        pd.read_csv(layers),
        read_paper(paper),
        strength=strength,
        gamma=gamma,
        model=model,
        vocabulary=vocabulary,
        sampling=sampling,
    )
    return {"md": render_markdown(tables), "html": render_html(tables)}

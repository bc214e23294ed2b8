"""Mean accuracy over classes for every number of latents, as Markdown."""

from pathlib import Path

import pandas as pd

from clip_sae.analyses.class_concepts.draw_curves import class_concepts_markdown


def class_concepts(
    job, *, csv: Path, model: str, sae: str, layer: int, threshold: float, random_seeds: int
) -> str:
    """Return the Markdown of the means over classes."""
    return class_concepts_markdown(
        pd.read_csv(csv),
        model=model,
        sae=sae,
        layer=layer,
        threshold=threshold,
        random_seeds=random_seeds,
    )

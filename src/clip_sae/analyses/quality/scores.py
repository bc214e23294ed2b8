"""Scores of every unit of an SAE, or of the residual, from one pass over a store."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from clip_sae.analyses.quality.monosemanticity import (
    MonosemanticitySums,
    SimilaritySpace,
    clarity,
)
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.sums import Watched
from clip_sae.analyses.shared.top_images import measure_top_images
from clip_sae.analyses.shared.units import Units


def score_units(
    images: StoreImages,
    units: Units,
    rows: np.ndarray,
    spaces: Sequence[SimilaritySpace],
    k: int,
    *,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> pd.DataFrame:
    """Return a row per unit: monosemanticity_<space> and clarity_<space>.

    A unit's value on an image is its mean over the tokens. Monosemanticity weighs all images,
    clarity the `k` strongest alike.

    Args:
        rows: [image] manifest row of the vectors of `spaces`; all of `images` are among them.
    """
    sums = MonosemanticitySums(rows, list(spaces), units.n_units, device)
    signed = ["units"] if units.signed else []
    top = measure_top_images(
        images,
        {"units": Watched(units, images.rows, sums)},
        k,
        device=device,
        rankings=["mean"],
        signed=signed,
        progress=progress,
    )["units"]["mean"]
    place = np.full(int(rows.max()) + 1, -1)
    place[rows] = np.arange(len(rows))
    columns = {f"monosemanticity_{name}": score for name, score in sums.scores().items()}
    columns |= {f"clarity_{space.name}": clarity(top.row, place, space.vectors) for space in spaces}
    return pd.DataFrame(columns)

"""The set that was chosen at a layer, ready to be taken out, and the images it is tested on."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from clip_sae.analyses.suppression.ablation import Latents
from clip_sae.analyses.suppression.contrast import read_contrasts
from clip_sae.analyses.suppression.embeddings import LayerSet
from clip_sae.analyses.suppression.groups import Groups, balanced_rows
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.analyses.suppression.sets import chosen_units
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def test_images(
    groups: Groups, place: Mapping, which: str, seed: int, split: str = "test"
) -> StoreImages:
    """The images of a split that the tables are of: all, or as many of each group.

    Args:
        place: has `stores` {split: folder} and `tokens_read`; which: "full" or "balanced".
    """
    store, rows = ActivationStore(Path(place["stores"][split])), None
    if which == "balanced":
        rows = balanced_rows(groups, np.asarray(store.source_index), seed)
    return StoreImages(store, rows, tokens=place["tokens_read"])


def chosen_set(row: Mapping, place: Mapping, device: str) -> LayerSet:
    """The latents of a summary's row, ready to be taken out.

    Args:
        place: of the row's layer, with `contrast` (its file) and `saes` {label: folder}.
    """
    contrast = read_contrasts(Path(place["contrast"]))[row["units"]]
    sae = Sae.load(Path(place["saes"][row["units"]]), device)
    chosen = chosen_units(contrast, row)
    return LayerSet(int(row["layer"]), Latents(sae), chosen)

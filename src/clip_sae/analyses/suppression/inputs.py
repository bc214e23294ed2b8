"""What the steps of suppression read: class texts, test images, embeddings, chosen sets.

Steering paper §7.1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from clip_sae.analyses.shared.contrast import read_contrasts
from clip_sae.analyses.shared.edited_embeddings import LayerSet, embeddings_without
from clip_sae.analyses.shared.groups import Groups, balanced_rows
from clip_sae.analyses.shared.models import class_names
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.unit_sets import chosen_units
from clip_sae.analyses.shared.units import Latents
from clip_sae.clip.model import ClipModel
from clip_sae.clip.zeroshot import class_embeddings
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def class_texts(
    model: ClipModel, index: Path, template: str, names: Sequence[str] | None = None
) -> Tensor:
    """Return unit texts [class, d_embed] of a set's two classes in one template.

    Args:
        index: names the classes where `names` is None.
    """
    named = template in ("none", "openai80")
    return class_embeddings(model, names or class_names(index), template if named else [template])


def last_layer_embeddings(
    model: ClipModel, store: Path, tokens: str, rows: np.ndarray | None = None
) -> tuple[Tensor, np.ndarray]:
    """Return clean embeddings [image, d_embed] from the last layer's store, and manifest rows."""
    images = StoreImages(ActivationStore(store), rows, tokens=tokens, batch_images=256)
    last = model.architecture.n_layers - 1
    return embeddings_without(model, last, images), images.rows


def shown_images(
    groups: Groups, place: Mapping, which: str, seed: int, split: str = "test"
) -> StoreImages:
    """Return the images of a split that the tables are of: all, or as many of each group.

    Args:
        place: has `stores` {split: folder} and `tokens_read`; which: "full" or "balanced".
    """
    store, rows = ActivationStore(place["stores"][split]), None
    if which == "balanced":
        rows = balanced_rows(groups, np.asarray(store.source_index), seed)
    return StoreImages(store, rows, tokens=place["tokens_read"])


def chosen_set(row: Mapping, place: Mapping, device: str) -> LayerSet:
    """Return the latents of a summary's row, ready to be taken out.

    Args:
        place: of the row's layer, with `contrast` (its file) and `saes` {label: SAE}.
    """
    contrast = read_contrasts(place["contrast"])[row["units"]]
    sae = Sae.load(place["saes"][row["units"]].folder, device)
    chosen = chosen_units(contrast, row)
    return LayerSet(int(row["layer"]), Latents(sae), chosen)

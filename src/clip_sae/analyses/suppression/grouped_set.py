"""A data set with two classes and a binary attribute, as the steps of suppression read it.

Steering paper §7.1: groups, evaluated images, class texts, and the sets that were chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from clip_sae.analyses.shared.contrast import Contrast
from clip_sae.analyses.shared.edited_embeddings import LayerSet
from clip_sae.analyses.shared.groups import Groups, balanced_rows, read_groups, train_counts
from clip_sae.analyses.shared.models import class_names, prompts
from clip_sae.analyses.shared.named_records import read_records
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.unit_sets import chosen_units
from clip_sae.analyses.shared.units import Latents
from clip_sae.clip.model import ClipModel
from clip_sae.clip.zeroshot import class_embeddings
from clip_sae.datasets.manifest import read_manifest
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


class GroupedSet:
    """One data set.

    Args:
        index: its index; attribute: its name, as in the manifest's column attr_<name>.
        images: "full", or "balanced" for as many images of each group; seed: of that choice.

    Attributes:
        groups: of every row of the manifest.
        train: [group] training images, for the adjusted accuracy.
    """

    def __init__(self, index: Path, attribute: str, images: str, seed: int) -> None:
        manifest = read_manifest(index)
        self.index, self.balanced, self.seed = index, images == "balanced", seed
        self.groups = read_groups(manifest, attribute)
        self.train = train_counts(manifest, self.groups)

    def images(self, path: Path, **reading) -> StoreImages:
        """Return the evaluated images of one split's store; `reading` as of `StoreImages`."""
        store, rows = ActivationStore(path), None
        if self.balanced:
            rows = balanced_rows(self.groups, np.asarray(store.source_index), self.seed)
        return StoreImages(store, rows, **reading)

    def texts(self, model: ClipModel, template: str, names: Sequence[str] | None) -> Tensor:
        """Return unit texts [class, d_embed] of both classes; the index names them for None."""
        return class_embeddings(model, names or class_names(self.index), prompts(template))


@dataclass(frozen=True)
class Embedded:
    """Image embeddings [image, d_embed] of one split, and the images' groups."""

    images: Tensor
    groups: Groups

    def right(self, predicted: Tensor) -> np.ndarray:
        """Return [image] bool."""
        return predicted.cpu().numpy() == self.groups.label


def chosen_set(row: Mapping, files: Mapping, device: str) -> LayerSet:
    """Return the latents of a summary's row, ready to be set to zero.

    Args:
        files: of the row's layer: `contrast` and `saes` {label: SAE}.
    """
    contrast = read_records(files["contrast"], Contrast)[row["units"]]
    sae = Sae.load(files["saes"][row["units"]].folder, device)
    return LayerSet(int(row["layer"]), Latents(sae), chosen_units(contrast, row))

"""Image embeddings from a cached residual: clean, or without the units of one or more layers.

Steering paper §7.1, one layer; sets of several layers act one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.units import Units
from clip_sae.clip.head import reads_cls
from clip_sae.clip.model import ClipModel


@dataclass(frozen=True)
class LayerSet:
    """The units that one layer loses: `chosen` [unit] indices."""

    layer: int
    units: Units
    chosen: np.ndarray


def reaches_output(model: ClipModel, layer: int) -> str:
    """Return the tokens of `layer` that the embedding depends on: "all", or "cls" at the end."""
    last = layer == model.architecture.n_layers - 1
    return "cls" if last and reads_cls(model.visual) else "all"


@torch.inference_mode()
def embeddings_without(
    model: ClipModel, layer: int, images: StoreImages, sets: Sequence[LayerSet] = ()
) -> Tensor:
    """Return unit embeddings [image, d_embed] of images without the units of all `sets`.

    Args:
        layer: whose residual `images` hold.
        sets: ascending in layer, none below `layer`; without any, the embeddings are clean.
    """
    layers = [s.layer for s in sets]
    if layers != sorted(set(layers)) or (layers and layers[0] < layer):
        raise ValueError(
            f"sets must ascend in layer, each layer once, from layer {layer} on; found {layers}."
        )
    found = []
    for _, x in images.batches(model.device):
        at = layer
        for one in sets:
            x = model.run_between(x, at, one.layer)
            [x] = one.units.on(x).nested(one.chosen, (len(one.chosen),))
            at = one.layer
        found.append(F.normalize(model.run_from(x, at).float(), dim=-1))
    return torch.cat(found)

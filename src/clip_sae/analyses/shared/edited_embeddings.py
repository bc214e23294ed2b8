"""Image embeddings from a cached residual: clean, or with sets of units of some layers edited.

Steering paper §7.1 and §7.2. Sets of several layers act one after the other; a chain of nested sets
of one layer costs one encoding of the images.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.units import Units
from clip_sae.clip.model import ClipModel

BATCH_IMAGES = 256  # of residuals in memory


@dataclass(frozen=True)
class LayerSet:
    """The units that are set at one layer: `chosen` [unit] indices."""

    layer: int
    units: Units
    chosen: np.ndarray


@torch.inference_mode()
def embeddings_without(
    model: ClipModel, layer: int, images: StoreImages | Tensor, sets: Sequence[LayerSet] = ()
) -> Tensor:
    """Return unit embeddings [image, d_embed] of images without the units of all `sets`.

    Args:
        images: of a store, or residuals [image, token, d_model], after block `layer`.
        sets: ascending in layer, none below `layer`; without sets, or with empty ones, the
            embeddings are clean, bit for bit.
    """
    layers = [s.layer for s in sets]
    if layers != sorted(set(layers)) or (layers and layers[0] < layer):
        raise ValueError(
            f"sets must ascend in layer, each layer once, from layer {layer} on; found {layers}."
        )
    found = []
    for x in _batches(images, model.device):
        at = layer
        for one in sets:
            x = model.run_between(x, at, one.layer)
            [x] = one.units.on(x).nested(one.chosen, (len(one.chosen),))
            at = one.layer
        found.append(F.normalize(model.run_from(x, at).float(), dim=-1))
    return torch.cat(found)


@torch.inference_mode()
def over_chain(
    model: ClipModel,
    x: Tensor,
    layer: int,
    units: Units,
    chain: Sequence[np.ndarray],
    answer: Callable[[Tensor], Tensor],
) -> list[Tensor]:
    """Return `answer(unit embeddings)` [image, …], on the CPU, for every set of a chain.

    Args:
        x: residuals [image, token, d_model] after block `layer`.
        chain: sets of unit indices, each holding the one before: a chain costs one encoding, and
            each unit one product. Equal neighbours run once.
        answer: of unit embeddings [image, d_embed], e.g. the predicted class.
    """
    order, sizes = _order(chain)
    different = sorted(set(sizes))
    found: dict[int, list[Tensor]] = {size: [] for size in different}
    for batch in _batches(x, model.device):
        edits = units.on(batch).nested(order, different)
        for size, edited in zip(different, edits, strict=True):
            embedding = F.normalize(model.run_from(edited, layer), dim=-1)
            found[size].append(answer(embedding).cpu())
    joined = {size: torch.cat(parts) for size, parts in found.items()}
    return [joined[size] for size in sizes]


def _batches(images: StoreImages | Tensor, device: torch.device) -> Iterator[Tensor]:
    if isinstance(images, Tensor):
        return (x.to(device) for x in images.split(BATCH_IMAGES))
    return (x for _, x in images.batches(device))


def _order(chain: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Return all units in the order in which they join, and the size of each set."""
    order = np.zeros(0, dtype=np.int64)
    for members in chain:
        if not np.isin(order, members).all():
            raise ValueError("a chain's sets must each hold the one before.")
        order = np.concatenate([order, np.setdiff1d(members, order)])
    return order, [len(members) for members in chain]

"""Image embeddings with sets of units set to zero, each set run once.

Steering paper §7.2: at the last residual layer only CLS reaches the output, so no block runs and
the whole grid of thresholds costs one encoding of the images.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.analyses.shared.units import Units
from clip_sae.clip.model import ClipModel

BATCH_IMAGES = 256


def tokens_that_matter(model: ClipModel, layer: int) -> str:
    """ "cls" where an edit of patches after `layer` cannot reach the embedding, else "all"."""
    last = model.architecture.n_layers - 1
    return "cls" if layer == last and model.head.cls_only else "all"


def clean_embeddings(model: ClipModel, x: Tensor, layer: int) -> Tensor:
    """Unit embeddings [image, d_embed] of residuals x [image, token, d_model] after `layer`."""
    return _embedded(model, x, layer, lambda batch: batch)


def ablated_embeddings(
    model: ClipModel, x: Tensor, layer: int, units: Units, chosen: np.ndarray
) -> Tensor:
    """As `clean_embeddings` with `chosen` units at 0; with none the same bits."""
    return _embedded(
        model, x, layer, lambda batch: next(units.on(batch).nested(chosen, [len(chosen)]))
    )


@torch.inference_mode()
def over_chain(
    model: ClipModel,
    x: Tensor,
    layer: int,
    units: Units,
    chain: Sequence[np.ndarray],
    answer: Callable[[Tensor], Tensor],
) -> list[Tensor]:
    """Return `answer(unit embeddings)` [image, …] for every set of a chain.

    Args:
        chain: sets of unit indices, each holding the one before: a chain costs one encoding, and
            each unit one product. Equal neighbours are run once.
        answer: of unit embeddings [image, d_embed], e.g. the predicted class.
    """
    order, sizes = _order(chain)
    different = sorted(set(sizes))
    found: dict[int, list[Tensor]] = {size: [] for size in different}
    for batch in x.split(BATCH_IMAGES):
        edits = units.on(batch.to(model.device)).nested(order, different)
        for size, edited in zip(different, edits, strict=True):
            embedding = F.normalize(model.run_from(edited, layer), dim=-1)
            found[size].append(answer(embedding).cpu())
    joined = {size: torch.cat(parts) for size, parts in found.items()}
    return [joined[size] for size in sizes]


def _order(chain: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """All units in the order in which they join, and the size of each set."""
    order = np.zeros(0, dtype=np.int64)
    for members in chain:
        if not np.isin(order, members).all():
            raise ValueError("a chain's sets must each hold the one before.")
        order = np.concatenate([order, np.setdiff1d(members, order)])
    return order, [len(members) for members in chain]


@torch.inference_mode()
def _embedded(model: ClipModel, x: Tensor, layer: int, edit: Callable[[Tensor], Tensor]) -> Tensor:
    parts = [
        F.normalize(model.run_from(edit(batch.to(model.device)), layer), dim=-1).cpu()
        for batch in x.split(BATCH_IMAGES)
    ]
    return torch.cat(parts)

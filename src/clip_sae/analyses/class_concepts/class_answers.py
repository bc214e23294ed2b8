"""Which images are answered rightly with only, or without, the strongest latents of their class.

PatchSAE §4.1, top-k masking. Runs start at the layer's cached residual; each batch is encoded once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from clip_sae.analyses.class_concepts.class_sets import EDITS, ERRORS, ClassBatch, Order
from clip_sae.analyses.shared.edits import reaches_output
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.clip.model import ClipModel
from clip_sae.sae import Sae


@dataclass(frozen=True)
class ClassAnswers:
    """Answers of every run.

    Attributes:
        runs: [run] (edit, error, order kind, seed, k).
        right: [run, image] bool.
        clean: [image] bool, with nothing edited.
        label: [image] class index.
    """

    runs: list[tuple[str, str, str, int, int]]
    right: np.ndarray
    clean: np.ndarray
    label: np.ndarray


def size_grid(sizes: Sequence[int | str], n_latents: int) -> list[int]:
    """Return the numbers of latents, ascending, each once: "all" is every latent.

    Raises ValueError for a grid without any number that the SAE reaches.
    """
    found = {n_latents if size == "all" else int(size) for size in sizes}
    kept = sorted(size for size in found if 0 < size <= n_latents)
    if not kept:
        raise ValueError(
            f"no k of {list(sizes)} is within 1 to {n_latents}, the latents of this SAE. "
            "Name smaller ones, or `all`."
        )
    return kept


@torch.inference_mode()
def answer_with_classes(
    model: ClipModel,
    layer: int,
    text: Tensor,
    images: StoreImages,
    label: np.ndarray,
    sae: Sae,
    orders: Sequence[Order],
    sizes: Sequence[int],
    *,
    progress: bool = True,
) -> ClassAnswers:
    """Run every edit of every order and size on all images.

    Args:
        layer: whose residual `images` hold; the later blocks run from there.
        text: unit class texts [class, d_embed].
        label: class index of every row of the manifest.
        sizes: ascending numbers of latents, see `size_grid`.

    The two sizes at which no order matters, none and all latents, run once, under the first order.
    """
    if images.tokens == "cls" and reaches_output(model, layer) != "cls":
        raise ValueError(
            f"only CLS was read of layer {layer}, but other tokens of it reach the embedding. "
            "Read all tokens."
        )
    text = F.normalize(text.float(), dim=-1).to(model.device)
    n_latents, label = sae.d_sae, label[images.rows]
    plan = [(order, _sizes_of(i, sizes, n_latents)) for i, order in enumerate(orders)]
    runs = [
        (edit, error, order.kind, order.seed, size)
        for order, own in plan
        for size in own
        for edit in EDITS
        for error in ERRORS
    ]
    right = np.zeros((len(runs), len(images)), dtype=bool)
    clean = np.zeros(len(images), dtype=bool)
    number = {run: i for i, run in enumerate(runs)}

    def answer(x: Tensor, wanted: np.ndarray) -> np.ndarray:
        embedding = F.normalize(model.run_from(x, layer).float(), dim=-1)
        return (embedding @ text.T).argmax(-1).cpu().numpy() == wanted

    batches = tqdm(
        images.batches(model.device),
        total=-(-len(images) // images.batch_images),
        desc="class concepts", unit="batch", disable=not progress,
    )  # fmt: skip
    for which, x in batches:
        batch = ClassBatch(sae, x, label[which])
        clean[which] = answer(x, label[which])
        for order, own in plan:
            for edit, error, size, edited in batch.edited(order.latents, own):
                run = number[edit, error, order.kind, order.seed, size]
                right[run, which] = answer(edited, label[which])
    return ClassAnswers(runs, right, clean, label)


def _sizes_of(i: int, sizes: Sequence[int], n_latents: int) -> list[int]:
    """Sizes that the i-th order runs."""
    return sorted({0, *sizes, n_latents}) if i == 0 else [k for k in sizes if k < n_latents]

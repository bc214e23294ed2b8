"""Answers with only, or without, the k strongest latents of each image's class, for many k.

PatchSAE §4.1, top-k masking. Edits set f_j := 0 for the latents that are removed, at every token.
The base is x, so that the SAE's error stays, or its reconstruction, as in the authors' code. An
image's true class selects its latents, see `ORDERS`. Runs start at the layer's cached residual;
each batch is encoded once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.analyses.shared.class_counts import ClassCounts
from clip_sae.analyses.shared.edits import ERRORS, EncodedTokens, moved, reaches_output
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.clip.model import ClipModel
from clip_sae.sae import Sae

EDITS = ("keep_only", "remove")
# top: the class's own; other_class: those of another class, a control of knowing the true class;
# random: alive latents, drawn for each class and seed.
ORDERS = ("top", "other_class", "random")


@dataclass(frozen=True)
class Order:
    """The latents of each class in order.

    Attributes:
        kind: one of ORDERS.
        seed: of a drawn order, else −1.
        latents: [class, latent] every latent once per class.
    """

    kind: str
    seed: int
    latents: np.ndarray


def class_orders(counts: ClassCounts, *, seeds: int, seed: int = 0) -> list[Order]:
    """Return the classes' own order and its controls.

    `other_class` gives each class the latents of the next in a drawn circle of all classes, so
    that none keeps its own; a single class has no such order. `random` has `seeds` draws per
    class, alive latents first.
    """
    ranked, n_classes = counts.ranked(), len(counts.counts)
    found = [Order("top", -1, ranked)]
    if n_classes > 1:
        circle = np.random.default_rng([seed, 0]).permutation(n_classes)
        other = np.empty(n_classes, dtype=np.int64)
        other[circle] = np.roll(circle, 1)
        found.append(Order("other_class", -1, ranked[other]))
    dead = ~counts.alive
    for draw in range(seeds):
        rng = np.random.default_rng([seed, 1, draw])
        keys = rng.random(counts.counts.shape) + dead  # dead ones come after all alive ones
        found.append(Order("random", draw, np.argsort(keys, axis=1)))
    return found


class ClassBatch:
    """One batch of images, encoded once for all orders and sizes.

    Args:
        x: [image, token, d_model] the layer's residual.
        label: [image] class index.
    """

    def __init__(self, sae: Sae, x: Tensor, label: np.ndarray) -> None:
        self.label, self.tokens = label, EncodedTokens(sae, x)
        self.bases = {error: self.tokens.base(error) for error in ERRORS}
        self.total = self.tokens.move(slice(None))  # Σ −f_j n_j [image token d_model]

    def edited(
        self, order: np.ndarray, sizes: Sequence[int]
    ) -> Iterator[tuple[str, str, int, Tensor]]:
        """Yield (edit, error, size, x′ [image, token, d_model]) for every size, both ways.

        `order` [class, latent]; sizes ascend. Keeping all, or removing none, returns the base
        itself, bit for bit.
        """
        first = torch.zeros_like(self.total)  # Σ −f_j n_j of the first `size` latents
        done, n_latents = 0, self.tokens.latents.shape[-1]
        for size in sizes:
            whole = size == n_latents
            first = self.total if whole else first + self._move(order[:, done:size])
            done = size
            moves = {"remove": first, "keep_only": self.total - first}
            for edit in EDITS:
                untouched = size == 0 if edit == "remove" else whole
                for error, base in self.bases.items():
                    edited = base if untouched else moved(base, self.tokens.scale, moves[edit])
                    yield edit, error, size, edited

    def _move(self, chosen: np.ndarray) -> Tensor:
        """Return [image, token, d_model]: Σ −f_j n_j over `chosen` [class, j] of each image."""
        found = torch.zeros_like(self.total)
        if chosen.shape[1] == 0:
            return found
        for label in np.unique(self.label):  # images of a class share their latents
            of_class = torch.as_tensor(np.flatnonzero(self.label == label), device=found.device)
            units = torch.as_tensor(chosen[label], device=found.device)
            found[of_class] = self.tokens.of_images(of_class).move(units)
        return found


@dataclass(frozen=True)
class ClassAnswers:
    """The answers of every run.

    Attributes:
        runs: [run] (edit, error, order kind, seed, k).
        right: [run, image] bool.
        clean: [image] bool, without an edit.
        label: [image] class index.
    """

    runs: list[tuple[str, str, str, int, int]]
    right: np.ndarray
    clean: np.ndarray
    label: np.ndarray


def size_grid(sizes: Sequence[int | str], n_latents: int) -> list[int]:
    """Return the numbers of latents, ascending, each once: "all" is every latent.

    Raises ValueError if every number is larger than the SAE.
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
    """Return the answers of every edit, order and size on all images.

    Args:
        layer: `images` hold its residual; the later blocks run from there.
        text: unit class texts [class, d_embed].
        label: class index of every row of the manifest.
        sizes: ascending numbers of latents, see `size_grid`.

    No order matters for none and for all latents: these sizes run once, under the first order.
    """
    if images.tokens == "cls" and reaches_output(model, layer) != "cls":
        raise ValueError(
            f"only CLS of layer {layer} was read, but other tokens of it reach the embedding. "
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

    desc = "class concepts" if progress else None
    for which, x in images.batches(model.device, desc):
        batch = ClassBatch(sae, x, label[which])
        clean[which] = answer(x, label[which])
        for order, own in plan:
            for edit, error, size, edited in batch.edited(order.latents, own):
                run = number[edit, error, order.kind, order.seed, size]
                right[run, which] = answer(edited, label[which])
    return ClassAnswers(runs, right, clean, label)


def _sizes_of(i: int, sizes: Sequence[int], n_latents: int) -> list[int]:
    """Return the sizes that the i-th order runs."""
    return sorted({0, *sizes, n_latents}) if i == 0 else [k for k in sizes if k < n_latents]

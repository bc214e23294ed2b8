"""Keep only, or take out, the k strongest latents of each image's class, for many k at once.

PatchSAE §4.1. With M the latents that are taken out, x′ = base − σ(x) Σ_{j ∈ M} f_j n_j at every
token; base is x itself, so that the SAE's error stays, or its reconstruction, which is what the
authors put in. Which k latents is a matter of the image's true class: see `ORDERS`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clip_sae.analyses.shared.class_counts import ClassCounts
from clip_sae.sae import Sae

EDITS = ("keep_only", "remove")
ERRORS = ("keep", "drop")
# top: the class's own; other_class: those of another class, as the true class must not be known to
# gain from them; random: alive latents, drawn for each class and seed.
ORDERS = ("top", "other_class", "random")


@dataclass(frozen=True)
class Order:
    """Which latents come first for each class.

    Attributes:
        kind: of ORDERS.
        seed: of a drawn order, else −1.
        latents: [class, latent] every latent once per class.
    """

    kind: str
    seed: int
    latents: np.ndarray


def class_orders(counts: ClassCounts, *, seeds: int, seed: int = 0) -> list[Order]:
    """Return the classes' own order and its controls.

    `other_class` gives each class the latents of the next in a drawn circle of all classes, so
    that none keeps its own; with one class there is no such order. `random` has `seeds` draws per
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
        self.sae, self.label = sae, label
        code = sae.encode(x)
        self.latents = code.latents  # [image token latent]
        self.scale = sae.token_scale(x)  # [image token 1]
        self.base = {"keep": x, "drop": sae.decode(code.latents, code.mean, code.std)}
        self.total = code.latents @ sae.W_dec  # [image token d_model]

    def edited(
        self, order: np.ndarray, sizes: Sequence[int]
    ) -> Iterator[tuple[str, str, int, Tensor]]:
        """Yield (edit, error, size, x′ [image, token, d_model]) for every size, both ways.

        `order` [class, latent]; sizes ascend. Keeping all, or removing none, gives the base itself,
        bit for bit.
        """
        first = torch.zeros_like(self.total)  # Σ f_j n_j of the first `size` latents
        done, n_latents = 0, self.latents.shape[-1]
        for size in sizes:
            whole = size == n_latents
            first = self.total if whole else first + self._sum(order[:, done:size])
            done = size
            out = {"remove": first, "keep_only": self.total - first}
            for edit in EDITS:
                untouched = size == 0 if edit == "remove" else whole
                for error, base in self.base.items():
                    yield edit, error, size, base if untouched else base - self.scale * out[edit]

    def _sum(self, chosen: np.ndarray) -> Tensor:
        """Return [image, token, d_model]: Σ f_j n_j over `chosen` [class, j] of each image."""
        found = torch.zeros_like(self.total)
        if chosen.shape[1] == 0:
            return found
        for label in np.unique(self.label):  # images of a class share their latents
            of_class = torch.as_tensor(np.flatnonzero(self.label == label), device=found.device)
            units = torch.as_tensor(chosen[label], device=found.device)
            values = self.latents[of_class][..., units]
            found[of_class] = values @ self.sae.W_dec[units]
        return found

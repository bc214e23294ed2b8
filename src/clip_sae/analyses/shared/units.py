"""Take sets of units out of the residual: SAE latents, or coordinates as the control.

Steering paper §7.1: x′ = x + σ(x) Σ_{j ∈ F} (v_j − f_j(x)) n_j at every token, with v_j = 0, so
that the SAE's error stays in x′. Nested sets share their sums: each set adds to what the one before
it took away.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from clip_sae.sae import Sae


class Batch(Protocol):
    """Tokens with their units' values."""

    def nested(self, order: np.ndarray, sizes: Sequence[int]) -> Iterator[Tensor]: ...


class Units(Protocol):
    """What can be taken out of the residual.

    `read` gives [image, token, unit] of tokens x [image, token, d_model]; `row_norm` [unit] is how
    far a change of 1 moves a token, in the units of the SAE's input; `signed` says whether values
    can be negative.
    """

    n_units: int
    row_norm: Tensor
    signed: bool

    def read(self, x: Tensor) -> Tensor: ...
    def on(self, x: Tensor) -> Batch: ...


class Latents:
    """The latents of an SAE; `fill` [unit] is what they are set to, 0 by default."""

    signed = False

    def __init__(self, sae: Sae, fill: Tensor | None = None) -> None:
        self.sae, self.fill = sae, fill
        self.n_units = sae.W_dec.shape[0]
        self.row_norm = torch.linalg.vector_norm(sae.W_dec, dim=-1)

    def read(self, x: Tensor) -> Tensor:
        return self.sae.encode(x).latents

    def on(self, x: Tensor) -> "_LatentBatch":
        return _LatentBatch(self, x)


class _LatentBatch:
    """One batch, encoded once for all its sets."""

    def __init__(self, units: Latents, x: Tensor) -> None:
        self.units, self.x = units, x
        self.values = units.read(x)  # [image token latent]
        self.scale = units.sae.token_scale(x)  # [image token 1]

    def nested(self, order: np.ndarray, sizes: Sequence[int]) -> Iterator[Tensor]:
        """Yield x′ [image, token, d_model] for the first `size` units of `order`, size by size.

        Sizes ascend. The empty set gives x itself, bit for bit.
        """
        change, done = torch.zeros_like(self.x), 0
        for size in sizes:
            if size > done:
                new = torch.as_tensor(order[done:size], device=self.x.device)
                wanted = 0.0 if self.units.fill is None else self.units.fill[new]
                change = change + (wanted - self.values[..., new]) @ self.units.sae.W_dec[new]
                done = size
            yield self.x if size == 0 else self.x + self.scale * change


class Neurons:
    """The coordinates of the residual; `fill` [unit] is what they are set to, 0 by default."""

    signed = True

    def __init__(self, d_model: int, fill: Tensor | None = None) -> None:
        self.n_units, self.fill = d_model, fill
        self.row_norm = torch.ones(d_model)

    def read(self, x: Tensor) -> Tensor:
        return x

    def on(self, x: Tensor) -> "_NeuronBatch":
        return _NeuronBatch(self, x)


class _NeuronBatch:
    def __init__(self, units: Neurons, x: Tensor) -> None:
        self.units, self.x = units, x

    def nested(self, order: np.ndarray, sizes: Sequence[int]) -> Iterator[Tensor]:
        """As for latents."""
        for size in sizes:
            new = torch.as_tensor(order[:size], device=self.x.device)
            wanted = self.x.new_zeros(size) if self.units.fill is None else self.units.fill[new]
            ablated = self.x.index_copy(-1, new, wanted.expand(*self.x.shape[:-1], size))
            yield self.x if size == 0 else ablated

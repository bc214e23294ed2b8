"""Units that an edit sets: the latents of an SAE, or coordinates of the residual as the control.

Steering paper §7.1: x′ = x + σ(x) Σ_{j ∈ F} (s_j − f_j(x)) n_j at every token, with s_j = 0 or a
mean, so that the SAE's error stays in x′. Nested sets share their sums: each set adds its new units
to the sum of the one before.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from clip_sae.analyses.shared.edits import EncodedTokens, moved
from clip_sae.sae import Sae


class Batch(Protocol):
    """Tokens with their units' values."""

    def nested(self, order: np.ndarray, sizes: Sequence[int]) -> Iterator[Tensor]:
        """Yield x′ [image, token, d_model] for the first `size` units of `order`, size by size.

        Sizes ascend. The empty set gives x itself, bit for bit.
        """
        ...


class Units(Protocol):
    """Units of one kind.

    `read` gives [image, token, unit] of tokens x [image, token, d_model]; `on` encodes a batch once
    for all its sets; `row_norm` [unit] is how far a change of 1 moves a token, in the units of the
    SAE's input; `signed` is True where values can be negative.
    """

    n_units: int
    row_norm: Tensor
    signed: bool

    def read(self, x: Tensor) -> Tensor: ...
    def on(self, x: Tensor) -> Batch: ...


class Latents:
    """The latents of an SAE; an edit sets them to `fill` [unit], 0 by default."""

    signed = False

    def __init__(self, sae: Sae, fill: Tensor | None = None) -> None:
        self.sae, self.fill = sae, fill
        self.n_units = sae.W_dec.shape[0]
        self.row_norm = torch.linalg.vector_norm(sae.W_dec, dim=-1)

    def read(self, x: Tensor) -> Tensor:
        return self.sae.encode(x).latents

    def on(self, x: Tensor) -> "_LatentBatch":
        return _LatentBatch(self.sae, x, self.fill)


class _LatentBatch(EncodedTokens):
    def __init__(self, sae: Sae, x: Tensor, fill: Tensor | None) -> None:
        super().__init__(sae, x)
        self.fill = fill

    def nested(self, order: np.ndarray, sizes: Sequence[int]) -> Iterator[Tensor]:
        change, done = torch.zeros_like(self.x), 0
        for size in sizes:
            if size > done:
                new = torch.as_tensor(order[done:size], device=self.x.device)
                change = change + self.move(new, 0.0 if self.fill is None else self.fill[new])
                done = size
            yield self.x if size == 0 else moved(self.x, self.scale, change)


class Neurons:
    """The coordinates of the residual; an edit sets them to `fill` [unit], 0 by default."""

    signed = True

    def __init__(self, d_model: int, fill: Tensor | None = None) -> None:
        self.n_units, self.fill = d_model, fill
        self.row_norm = torch.ones(d_model)

    def read(self, x: Tensor) -> Tensor:
        return x

    def on(self, x: Tensor) -> "_NeuronBatch":
        return _NeuronBatch(x, self.fill)


class _NeuronBatch:
    def __init__(self, x: Tensor, fill: Tensor | None) -> None:
        self.x, self.fill = x, fill

    def nested(self, order: np.ndarray, sizes: Sequence[int]) -> Iterator[Tensor]:
        for size in sizes:
            new = torch.as_tensor(order[:size], device=self.x.device)
            wanted = self.x.new_zeros(size) if self.fill is None else self.fill[new]
            ablated = self.x.index_copy(-1, new, wanted.expand(*self.x.shape[:-1], size))
            yield self.x if size == 0 else ablated

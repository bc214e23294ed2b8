"""Pairs of token and latent that take part in a step: all of a chunk, or the few that matter.

Not in the papers. JumpReLU and Gated write their formulas once, on values at such pairs; products
are dense while many latents are near their threshold and sparse once few are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from clip_sae.training.codes import SparseCodes, Transposed, entries_of_product

# Below this share of entries sparse products beat dense ones (measured on one core with AVX-512,
# d_model 128); an SAE starts above it and falls below it while it learns.
SPARSE_BELOW = 0.08


class DenseEntries:
    """All pairs (token, latent) of a chunk: `values` are [token, latent]."""

    def decode(self, values: torch.Tensor, W_dec: torch.Tensor) -> torch.Tensor:
        """Return Σ over latents of values · W_dec [token, d_model]."""
        return values @ W_dec

    def product(self, g: torch.Tensor, W_dec: torch.Tensor) -> torch.Tensor:
        """Return g W_decᵀ at the pairs; `g` [token, d_model]."""
        return g @ W_dec.T

    def add_(self, out: torch.Tensor, values: torch.Tensor, tokens: torch.Tensor) -> None:
        """Add Σ over tokens of values · `tokens` [token, d_model] to `out` [latent, d_model]."""
        out.addmm_(values.T, tokens)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return Σ over tokens of values [latent]."""
        return values.sum(dim=0)

    def spread(self, per_latent: torch.Tensor) -> torch.Tensor:
        """Return a number per latent [latent] so that it combines with values."""
        return per_latent


class SparseEntries:
    """The pairs of `pattern`, in its order: `values` are [entry]; as `DenseEntries` otherwise."""

    def __init__(self, pattern: SparseCodes) -> None:
        self._pattern = pattern

    @cached_property
    def _transposed(self) -> Transposed:
        return self._pattern.transposed()

    def decode(self, values: torch.Tensor, W_dec: torch.Tensor) -> torch.Tensor:
        return replace(self._pattern, values=values).decode(W_dec)

    def product(self, g: torch.Tensor, W_dec: torch.Tensor) -> torch.Tensor:
        return entries_of_product(self._pattern, g, W_dec)

    def add_(self, out: torch.Tensor, values: torch.Tensor, tokens: torch.Tensor) -> None:
        self._transposed.add_(out, values, tokens)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        return replace(self._pattern, values=values).sums()

    def spread(self, per_latent: torch.Tensor) -> torch.Tensor:
        return per_latent[self._pattern.columns]


Entries = DenseEntries | SparseEntries


def entries_where(
    values: torch.Tensor, chosen: torch.Tensor
) -> tuple[Entries, torch.Tensor, torch.Tensor]:
    """Return (entries, values, chosen) of the chosen pairs, or of all where many are chosen.

    `values`, `chosen` [token, latent]; values that are not chosen must not matter. The second and
    third result are in the shape of the entries.
    """
    if values.device.type != "cpu" or not is_sparse(chosen):
        return DenseEntries(), values, chosen
    pattern = SparseCodes.at(values, chosen)
    return SparseEntries(pattern), pattern.values, torch.ones_like(pattern.values, dtype=torch.bool)


def is_sparse(chosen: torch.Tensor) -> bool:
    """Return True if few enough of `chosen` [token, latent] are true."""
    return np.count_nonzero(chosen.numpy()) < SPARSE_BELOW * chosen.numel()

"""Latents of a chunk of tokens, dense or sparse, with their hand-written gradients.

Steering paper Eq. 3 and its derivatives; exact, tested against autograd in float64. Only non-zero
latents have a gradient, so a sparse code costs 8 k d_model operations a token where autograd costs
10 d_sae d_model.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

import numpy as np
import torch

from clip_sae.training.weights import Weights

# Cost of one unit of a latent in the loss: a number, or one per latent.
Penalty = float | torch.Tensor


@dataclass(frozen=True)
class DenseCodes:
    """Latents f [token, latent] >= 0 in full; `backward` overwrites `buffer` of the same shape."""

    latents: torch.Tensor
    buffer: torch.Tensor

    def decode(self, W_dec: torch.Tensor) -> torch.Tensor:
        """Return f W_dec [token, d_model]."""
        return self.latents @ W_dec

    def backward(
        self, grads: Weights, z: torch.Tensor, g: torch.Tensor, W_dec: torch.Tensor, l1: Penalty
    ) -> None:
        """Add to `grads` the gradients of a loss with dL/d(f W_dec) = g and of Σ l1 f.

        `z` [token, d_model] is the encoder's input; `l1` a number or [latent]. The caller adds the
        gradient of `b_dec`, and that of a penalty that depends on W_dec.
        """
        grads.W_dec.addmm_(self.latents.T, g)
        d_pre = torch.mm(g, W_dec.T, out=self.buffer).add_(l1)
        # d_pre where the latent is active, else 0: ReLU's own backward, in place.
        torch.ops.aten.threshold_backward.grad_input(d_pre, self.latents, 0, grad_input=d_pre)
        grads.W_enc_rows.addmm_(d_pre.T, z)
        grads.b_enc.add_(d_pre.sum(dim=0))

    def sums(self) -> torch.Tensor:
        """Return Σ over tokens of f [latent]."""
        return self.latents.sum(dim=0)

    def n_active(self) -> int:
        """Return the number of non-zero latents, over all tokens."""
        return int(torch.count_nonzero(self.latents))


@dataclass(frozen=True)
class SparseCodes:
    """Latents as compressed rows: `values[row_start[i]:row_start[i + 1]]` belong to token i.

    It has the methods of `DenseCodes`.
    """

    row_start: torch.Tensor  # int64 [token + 1]
    columns: torch.Tensor  # int64 [entry], the latent of each entry
    values: torch.Tensor  # [entry], >= 0
    d_sae: int

    @classmethod
    def empty(cls, like: torch.Tensor, d_sae: int) -> SparseCodes:
        """Return the codes of no token; numbers are of `like`'s dtype and device."""
        nothing = torch.zeros(0, dtype=torch.int64, device=like.device)
        return cls(nothing.new_zeros(1), nothing, like.new_zeros(0), d_sae)

    @classmethod
    def concatenate(cls, parts: list[SparseCodes]) -> SparseCodes:
        """Return the codes of consecutive chunks of tokens as one."""
        if len(parts) == 1:
            return parts[0]
        starts, offset = [], 0
        for part in parts:
            starts.append(part.row_start[:-1] + offset)
            offset += len(part.values)
        starts.append(starts[0].new_tensor([offset]))
        return cls(
            torch.cat(starts),
            torch.cat([part.columns for part in parts]),
            torch.cat([part.values for part in parts]),
            parts[0].d_sae,
        )

    @classmethod
    def at(cls, values: torch.Tensor, chosen: torch.Tensor) -> SparseCodes:
        """Return the `values` [token, latent] where `chosen` is true; on the CPU."""
        rows, width = values.shape
        flat = np.flatnonzero(chosen.numpy())
        row_start = np.searchsorted(flat, np.arange(rows + 1) * width)
        columns = flat - np.repeat(np.arange(rows) * width, np.diff(row_start))
        entries = torch.from_numpy(flat)
        found = values.reshape(-1)[entries]
        return cls(torch.from_numpy(row_start), torch.from_numpy(columns), found, width)

    def where(self, kept: torch.Tensor) -> SparseCodes:
        """Return the entries where `kept` [entry] is true."""
        before = torch.cat([kept.new_zeros(1, dtype=torch.int64), kept.cumsum(0)])
        entries = torch.nonzero(kept).view(-1)
        return SparseCodes(
            before[self.row_start], self.columns[entries], self.values[entries], self.d_sae
        )

    def columns_from(self, first: int, stop: int) -> SparseCodes:
        """Return the entries of latents `first` to `stop` - 1."""
        return self.where((self.columns >= first) & (self.columns < stop))

    def decode(self, W_dec: torch.Tensor) -> torch.Tensor:
        # 3x as fast on a CPU as the same product of a compressed matrix.
        return torch.nn.functional.embedding_bag(
            self.columns,
            W_dec,
            self.row_start,
            mode="sum",
            per_sample_weights=self.values,
            include_last_offset=True,
        )

    def backward(
        self, grads: Weights, z: torch.Tensor, g: torch.Tensor, W_dec: torch.Tensor, l1: Penalty
    ) -> None:
        d_values = entries_of_product(self, g, W_dec)
        d_values = d_values + (l1[self.columns] if isinstance(l1, torch.Tensor) else l1)
        d_values = d_values * (self.values > 0)  # TopK may keep entries that ReLU then closes
        transposed = self.transposed()
        transposed.add_(grads.W_dec, self.values, g)
        transposed.add_(grads.W_enc_rows, d_values, z)
        grads.b_enc.index_add_(0, self.columns, d_values)

    def sums(self) -> torch.Tensor:
        return self.values.new_zeros(self.d_sae).index_add_(0, self.columns, self.values)

    def n_active(self) -> int:
        return int(torch.count_nonzero(self.values))

    def matrix(self) -> torch.Tensor:
        """Return the latents as a compressed sparse matrix [token, latent]."""
        shape = (len(self.row_start) - 1, self.d_sae)
        return _compressed(self.row_start, self.columns, self.values, shape=shape)

    def transposed(self) -> Transposed:
        """Return the entries in the order of their latents."""
        token = torch.repeat_interleave(self.row_start.diff())
        if self.columns.device.type == "cpu" and self.d_sae <= 2**16:
            # 16-bit keys get NumPy's radix sort, 4x faster than a comparison sort.
            keys = self.columns.numpy().astype(np.uint16)
            order = torch.from_numpy(np.argsort(keys, kind="stable"))
        else:
            order = torch.argsort(self.columns, stable=True)
        counts = torch.bincount(self.columns, minlength=self.d_sae)
        latent_start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return Transposed(order, token[order], latent_start, len(self.row_start) - 1)


Codes = DenseCodes | SparseCodes


@dataclass(frozen=True)
class Transposed:
    """Entries of SparseCodes by latent: `order` of the entries, the `token` of each, starts."""

    order: torch.Tensor  # int64 [entry]
    token: torch.Tensor  # int64 [entry], in this order
    latent_start: torch.Tensor  # int64 [latent + 1]
    n_tokens: int

    def add_(self, out: torch.Tensor, values: torch.Tensor, tokens: torch.Tensor) -> None:
        """Add Σ over entries of values · `tokens` [token, d_model] to `out` [latent, d_model].

        `values` [entry] in the order of the codes. In place, because the product as an array of its
        own would cost more than the product.
        """
        shape = (len(self.latent_start) - 1, self.n_tokens)
        matrix = _compressed(self.latent_start, self.token, values[self.order], shape=shape)
        out.addmm_(matrix, tokens)


def entries_of_product(pattern: SparseCodes, a: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return (a rowsᵀ) [entry] at the entries of `pattern` only.

    `a` [token, d_model], `rows` [latent, d_model]; the pattern's values do not matter.
    """
    if a.device.type == "cuda" or torch.backends.mkl.is_available():
        product = torch.sparse.sampled_addmm(pattern.matrix(), a, rows.T, beta=0.0)
        return product.values()
    token = torch.repeat_interleave(pattern.row_start.diff())
    return (a[token] * rows[pattern.columns]).sum(dim=1)


def _compressed(
    row_start: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, *, shape: tuple[int, int]
) -> torch.Tensor:
    _silence_beta_notice()
    return torch.sparse_csr_tensor(row_start, columns, values, shape, check_invariants=False)


@functools.cache
def _silence_beta_notice() -> None:
    """Silence torch's notice, once per process, that CSR tensors are in beta."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        start = torch.tensor([0, 1])
        torch.sparse_csr_tensor(start, start[:1], torch.ones(1), (1, 1), check_invariants=False)

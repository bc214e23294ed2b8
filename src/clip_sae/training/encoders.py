"""Encoders for training: from tokens to codes, chunk by chunk.

Steering paper Eq. 3 (ReLU, TopK); Bussmann et al. 2024 (BatchTopK). `encode` yields (tokens, codes)
that cover z [token, d_model] (b_dec subtracted) in order; codes are valid until the next ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from clip_sae.training.codes import Codes, DenseCodes, SparseCodes
from clip_sae.training.entries import is_sparse
from clip_sae.training.parallel import Replicas
from clip_sae.training.selection import (
    Selector,
    keep_largest,
    pre_activations,
)
from clip_sae.training.weights import Weights
from clip_sae.training.workspace import Workspace, chunks


@dataclass
class ReluEncoder:
    """Vanilla: all positive pre-activations. Dense codes while many are active, sparse later."""

    workspace: Workspace = field(default_factory=Workspace)

    def encode(self, z: torch.Tensor, weights: Weights) -> Iterator[tuple[slice, Codes]]:
        sparse: list[SparseCodes] | None = None
        for tokens in chunks(z):
            pre_acts = pre_activations(z[tokens], weights, self.workspace)
            active = pre_acts > 0 if on_cpu(z) else None
            if tokens.start == 0 and active is not None and is_sparse(active):
                # Batches are shuffled, so the first chunk is representative.
                sparse = []
            if sparse is not None:
                sparse.append(SparseCodes.at(pre_acts, active))
                continue
            buffer = self.workspace.get("gradient", *pre_acts.shape, like=z)
            yield tokens, DenseCodes(pre_acts.relu_(), buffer)
        if sparse is not None:
            yield slice(0, len(z)), SparseCodes.concatenate(sparse)


@dataclass
class TopKEncoder:
    """TopK: the k largest pre-activations of each token, then ReLU; always sparse."""

    k: int
    workspace: Workspace = field(default_factory=Workspace)

    def encode(self, z: torch.Tensor, weights: Weights) -> Iterator[tuple[slice, Codes]]:
        everything, d_sae = slice(0, len(z)), len(weights.b_enc)
        if not on_cpu(z):
            yield everything, _top_k_on_device(z, weights, self.k, self.workspace)
            return
        selector = Selector(self.workspace)
        parts = [
            keep_largest(selector.candidates(z[tokens], weights, self.k), self.k)
            for tokens in chunks(z)
        ]
        # A process's share of a small last batch may be empty.
        yield everything, SparseCodes.concatenate(parts or [SparseCodes.empty(z, d_sae)])


@dataclass
class BatchTopKEncoder:
    """BatchTopK: the k x token largest pre-activations of the whole batch, then ReLU.

    Each chunk offers more than its share, since tokens differ. If all offers of a chunk are kept,
    it may have more of the largest, so all chunks then offer twice as much.
    `smallest_kept` is the smallest latent of the last batch (scalar), None if it has none.
    """

    k: int
    workspace: Workspace = field(default_factory=Workspace)
    replicas: Replicas = field(default_factory=Replicas)
    smallest_kept: torch.Tensor | None = None

    def encode(self, z: torch.Tensor, weights: Weights) -> Iterator[tuple[slice, Codes]]:
        d_sae = len(weights.b_enc)
        n_tokens = torch.tensor(len(z), device=z.device)
        self.replicas.sum_(n_tokens)
        offered = min(2 * self.k, d_sae)
        while True:
            codes = self._offers(z, weights, offered)
            cut = self._cut(codes.values, self.k * int(n_tokens))
            codes = codes.where(codes.values >= cut) if cut is not None else codes
            if not self._exhausted(codes, z, offered) or offered == d_sae:
                break
            offered = min(2 * offered, d_sae)
        values = self.replicas.concatenate(codes.values)
        self.smallest_kept = values.min() if len(values) else None
        yield slice(0, len(z)), codes

    def _offers(self, z: torch.Tensor, weights: Weights, offered: int) -> SparseCodes:
        """Return all positive entries among the `offered` x token largest of their chunk.

        On a device, each token is a chunk of its own.
        """
        if not on_cpu(z):
            codes = _top_k_on_device(z, weights, offered, self.workspace)
        else:
            selector = Selector(self.workspace)
            parts = [selector.candidates(z[t], weights, offered, pooled=True) for t in chunks(z)]
            codes = SparseCodes.concatenate(parts or [SparseCodes.empty(z, len(weights.b_enc))])
        return codes.where(codes.values > 0)

    def _cut(self, values: torch.Tensor, count: int) -> torch.Tensor | None:
        """Return the `count`-th largest of all processes' values, None if they are fewer.

        All values that equal it are kept, so that the order of tokens does not matter.
        """
        together = self.replicas.concatenate(values)
        if len(together) <= count:
            return None
        return together.kthvalue(len(together) - count + 1).values

    def _exhausted(self, codes: SparseCodes, z: torch.Tensor, offered: int) -> bool:
        """Return True if all offers of a chunk were kept, in any process."""
        kept = codes.row_start.diff()
        if not on_cpu(z):
            full = (kept >= offered).any()
        else:
            sums = [int(kept[t].sum()) >= offered * (t.stop - t.start) for t in chunks(z)]
            full = torch.tensor(any(sums))
        found = full.to(torch.int64)
        self.replicas.sum_(found)
        return bool(found)


def on_cpu(z: torch.Tensor) -> bool:
    """Return True if reading values is free; an accelerator would have to finish first."""
    return z.device.type == "cpu"


def _top_k_on_device(
    z: torch.Tensor, weights: Weights, k: int, workspace: Workspace
) -> SparseCodes:
    """Return k entries per token, zeros included, so the shape needs no device sync."""
    pre_acts = pre_activations(z, weights, workspace)
    values, columns = pre_acts.topk(k, dim=1, sorted=False)
    row_start = torch.arange(0, columns.numel() + 1, k, device=z.device)
    return SparseCodes(row_start, columns.view(-1), values.relu_().view(-1), len(weights.b_enc))

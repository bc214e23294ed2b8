"""Encoders for training: from tokens to codes, block by block, never all of d_sae at once.

Steering paper Eq. 3. One class per architecture; a new one needs `encode` and an entry in
`make_encoder`, and its gradients if it is not a masked ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from clip_sae.recipes import SaeRecipe
from clip_sae.sae.activations import top_k_columns
from clip_sae.training.codes import Codes, DenseCodes, SparseCodes
from clip_sae.training.weights import Weights

# Tokens per block on a CPU: pre-activations of a block stay in cache for small SAEs and take
# 200 MB at d_sae 49,152. An accelerator takes the batch whole.
BLOCK_TOKENS = 1024
# Below this share of non-zero latents sparse products beat dense ones (measured on one core with
# AVX-512, d_model 128); a vanilla SAE starts above it and falls below it while it learns.
SPARSE_BELOW = 0.08


class Workspace:
    """Scratch arrays kept between steps, shared by all SAEs of a pass, which step in turn."""

    def __init__(self) -> None:
        self._arrays: dict[str, torch.Tensor] = {}

    def get(self, name: str, rows: int, columns: int, like: torch.Tensor) -> torch.Tensor:
        """Return an uninitialised [rows, columns] array of `like`'s dtype and device."""
        array = self._arrays.get(name)
        if array is None or array.numel() < rows * columns or array.dtype != like.dtype:
            array = like.new_empty(rows * columns)
            self._arrays[name] = array
        return array[: rows * columns].view(rows, columns)


class Encoder(Protocol):
    def encode(self, z: torch.Tensor, weights: Weights) -> Iterator[tuple[slice, Codes]]:
        """Yield (tokens, codes) covering z [token, d_model] (b_dec subtracted) in order.

        A code is valid until the next one is drawn.
        """


@dataclass
class ReluEncoder:
    """Vanilla: all positive pre-activations. Dense codes while many are active, sparse later."""

    workspace: Workspace = field(default_factory=Workspace)

    def encode(self, z: torch.Tensor, weights: Weights) -> Iterator[tuple[slice, Codes]]:
        sparse: list[SparseCodes] | None = None
        for tokens in blocks(z):
            pre_acts = pre_activations(z[tokens], weights, self.workspace)
            active = pre_acts > 0 if z.device.type == "cpu" else None
            if tokens.start == 0 and active is not None and _is_sparse(active):
                # Batches are shuffled, so the first block speaks for all of them.
                sparse = []
            if sparse is not None:
                sparse.append(_sparse_where(pre_acts, active.numpy()))
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
        parts = []
        for tokens in blocks(z):
            pre_acts = pre_activations(z[tokens], weights, self.workspace)
            columns = top_k_columns(pre_acts, self.k)
            values = pre_acts.gather(1, columns).relu_()
            row_start = torch.arange(0, columns.numel() + 1, self.k, device=z.device)
            parts.append(
                SparseCodes(row_start, columns.view(-1), values.view(-1), pre_acts.shape[1])
            )
        yield slice(0, len(z)), SparseCodes.concatenate(parts)


def make_encoder(recipe: SaeRecipe, workspace: Workspace) -> Encoder:
    """Return the training encoder of a recipe's architecture."""
    if recipe.architecture == "vanilla":
        return ReluEncoder(workspace)
    if recipe.architecture == "topk":
        return TopKEncoder(recipe.k, workspace)
    raise ValueError(f"unknown SAE architecture {recipe.architecture!r}; known: vanilla, topk.")


def blocks(z: torch.Tensor) -> Iterator[slice]:
    """Yield slices over the tokens of z, in order."""
    step = BLOCK_TOKENS if z.device.type == "cpu" else len(z)
    for start in range(0, len(z), step):
        yield slice(start, min(start + step, len(z)))


def pre_activations(z: torch.Tensor, weights: Weights, workspace: Workspace) -> torch.Tensor:
    """Return z W_enc + b_enc [token, latent] in the workspace; overwritten by the next call."""
    out = workspace.get("pre_acts", len(z), len(weights.b_enc), like=z)
    return torch.addmm(weights.b_enc, z, weights.W_enc_rows.T, out=out)


def _is_sparse(active: torch.Tensor) -> bool:
    return np.count_nonzero(active.numpy()) < SPARSE_BELOW * active.numel()


def _sparse_where(values: torch.Tensor, active: np.ndarray) -> SparseCodes:
    rows, width = active.shape
    flat = np.flatnonzero(active)
    row_start = np.searchsorted(flat, np.arange(rows + 1) * width)
    columns = flat - np.repeat(np.arange(rows) * width, np.diff(row_start))
    return SparseCodes(
        torch.from_numpy(row_start),
        torch.from_numpy(columns),
        values.view(-1)[torch.from_numpy(flat)],
        width,
    )

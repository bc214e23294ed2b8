"""From pre-activations to latents: the three ways in which a trained SAE is read.

Steering paper Eq. 3: ReLU for the vanilla SAE, the k largest and then ReLU for TopK. JumpReLU
serves every SAE with a threshold per latent (Rajamanoharan et al. 2024, arXiv 2407.14435, Eq. 2):
JumpReLU and Gated SAEs, and BatchTopK and Matryoshka SAEs once they are trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch


class Activation(Protocol):
    """Maps pre_acts [..., latent] to latents [..., latent] >= 0, differentiably in pre_acts.

    `threshold` [latent] is the SAE's parameter of that name where `has_threshold`, else None.
    """

    saelens_name: str
    has_threshold: bool

    def __call__(self, pre_acts: torch.Tensor, threshold: torch.Tensor | None) -> torch.Tensor: ...

    def config(self) -> dict:
        """Return the keys that cfg.json needs next to the architecture."""


@dataclass(frozen=True)
class ReluActivation:
    saelens_name = "standard"
    has_threshold = False

    def __call__(self, pre_acts: torch.Tensor, threshold: None = None) -> torch.Tensor:
        return pre_acts.relu()

    def config(self) -> dict:
        return {}


@dataclass(frozen=True)
class TopKActivation:
    """Keeps the k largest pre-activations of a token, then ReLU, so that L0 <= k."""

    k: int
    saelens_name = "topk"
    has_threshold = False

    def __call__(self, pre_acts: torch.Tensor, threshold: None = None) -> torch.Tensor:
        flat = pre_acts.reshape(-1, pre_acts.shape[-1])
        columns = top_k_columns(flat.detach(), self.k)
        kept = flat.gather(1, columns).relu()
        return torch.zeros_like(flat).scatter(1, columns, kept).reshape(pre_acts.shape)

    def config(self) -> dict:
        # Rows of W_dec have unit norm, so selecting by decoder norm would change nothing.
        return {"k": self.k, "rescale_acts_by_decoder_norm": False}


@dataclass(frozen=True)
class JumpReluActivation:
    """Keeps a pre-activation that is above its latent's threshold, strictly, and above 0."""

    saelens_name = "jumprelu"
    has_threshold = True

    def __call__(self, pre_acts: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
        # The product, not a choice between two values, so that a NaN stays one.
        return pre_acts.relu() * (pre_acts > threshold)

    def config(self) -> dict:
        return {}


def make_activation(architecture: str, k: int | None, d_sae: int) -> Activation:
    """Return the activation of `architecture`; raises ValueError for an unknown one or a bad k."""
    if architecture == "vanilla":
        return ReluActivation()
    if architecture == "topk":
        if k is None or not 1 <= k <= d_sae:
            raise ValueError(f"a topk SAE of {d_sae} latents needs 1 <= k <= {d_sae}; k is {k}.")
        return TopKActivation(k)
    if architecture == "jumprelu":
        return JumpReluActivation()
    raise ValueError(f"unknown SAE architecture {architecture!r}; known: vanilla, topk, jumprelu.")


def top_k_columns(pre_acts: torch.Tensor, k: int) -> torch.Tensor:
    """Return the columns of each row's k largest values, ascending [row, k], int64.

    On a CPU a vectorised partition finds the k-th value and one scan the columns above it: about
    3x faster than torch.topk. Rows with ties at the k-th value go through torch.topk.
    """
    rows, width = pre_acts.shape
    if k < width and pre_acts.device.type == "cpu" and pre_acts.dtype != torch.bfloat16:
        values = pre_acts.numpy()
        kth = np.partition(values, width - k, axis=1)[:, width - k, None]
        flat = np.flatnonzero(values >= kth)
        if flat.size == rows * k:
            flat = flat.reshape(rows, k) - np.arange(rows)[:, None] * width
            # Ties in one row and a NaN in another could add up to the right number.
            if flat.min(initial=0) >= 0 and flat.max(initial=0) < width:
                return torch.from_numpy(flat)
    return pre_acts.topk(k, dim=1).indices.sort(dim=1).values

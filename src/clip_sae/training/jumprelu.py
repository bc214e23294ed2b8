"""JumpReLU: a threshold per latent, trained through a straight-through estimator.

Rajamanoharan et al. 2024 (JumpReLU, Eqs 9-12): f = p · 1[p > θ], loss λ L0, both gradients of θ
through a rectangle of width ε around it; Gemma Scope 2's quadratic pull towards a wanted L0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from clip_sae.recipes import SaeRecipe
from clip_sae.sae import Sae
from clip_sae.training.blocks import blocks
from clip_sae.training.codes import Penalty
from clip_sae.training.losses import Losses, reconstruct
from clip_sae.training.method import Method
from clip_sae.training.parallel import Replicas
from clip_sae.training.selection import pre_activations
from clip_sae.training.targets import Target
from clip_sae.training.weights import Weights, to_sae
from clip_sae.training.workspace import Workspace


@dataclass(frozen=True)
class JumpCodes:
    """Latents of a block; `near` marks pre-activations within ε/2 of their threshold.

    `latents`, `near` [token, latent]; `buffer` of the same shape is overwritten by `backward`.
    """

    latents: torch.Tensor
    near: torch.Tensor
    threshold: torch.Tensor
    bandwidth: float
    buffer: torch.Tensor

    def decode(self, W_dec: torch.Tensor) -> torch.Tensor:
        return self.latents @ W_dec

    def backward(
        self, grads: Weights, z: torch.Tensor, g: torch.Tensor, W_dec: torch.Tensor, l1: Penalty
    ) -> None:
        grads.W_dec.addmm_(self.latents.T, g)
        d_latents = torch.mm(g, W_dec.T, out=self.buffer).add_(l1)
        # The latent falls from θ to 0 where θ passes p: dL/dθ = -(θ/ε) Σ 1[near] dL/df.
        through = torch.where(self.near, d_latents, 0.0).sum(dim=0)
        grads.threshold.addcmul_(self.threshold, through, value=-1 / self.bandwidth)
        d_pre = d_latents.masked_fill_(self.latents <= 0, 0.0)
        grads.W_enc_rows.addmm_(d_pre.T, z)
        grads.b_enc.add_(d_pre.sum(dim=0))

    def sums(self) -> torch.Tensor:
        return self.latents.sum(dim=0)

    def n_active(self) -> int:
        return int(torch.count_nonzero(self.latents))


class JumpRelu(Method):
    """λ · L0, or λ (L0 / target − 1)² where a target L0 is given.

    θ itself is trained, not its logarithm, under which Adam hardly moves small thresholds.
    """

    def __init__(self, recipe: SaeRecipe, workspace: Workspace, replicas: Replicas) -> None:
        self.l0_coefficient, self.target_l0 = recipe.l0_coefficient, recipe.target_l0
        self.bandwidth, self.initial_threshold = recipe.bandwidth, recipe.initial_threshold
        self._workspace, self._replicas = workspace, replicas

    def add_arrays(self, weights: Weights) -> None:
        weights.threshold = torch.full_like(weights.b_enc, self.initial_threshold)

    def backward(
        self,
        target: Target,
        weights: Weights,
        grads: Weights,
        *,
        pressure: float,
        count_active: bool,
    ) -> Losses:
        z = target.z - weights.b_dec
        near = torch.zeros_like(weights.b_enc)
        active = torch.zeros_like(weights.b_enc)
        codes = self._encode(z, weights, near, active)
        losses = reconstruct(target, z, codes, weights, grads, 0.0, count_active=count_active)
        self._replicas.sum_(active)
        l0 = active.sum() / target.n_tokens
        coefficient = self.l0_coefficient * pressure
        if self.target_l0 is None:
            losses.sparsity = coefficient * l0
            slope = coefficient
        else:
            excess = l0 / self.target_l0 - 1
            losses.sparsity = coefficient * excess**2
            slope = 2 * coefficient / self.target_l0 * excess
        # This replica's share of the loss; the shares are added up with the other losses.
        losses.sparsity = losses.sparsity / self._replicas.size
        grads.threshold.sub_(near * (slope / (self.bandwidth * target.n_tokens)))
        return losses

    def _encode(
        self, z: torch.Tensor, weights: Weights, near_sums: torch.Tensor, active: torch.Tensor
    ) -> Iterator[tuple[slice, JumpCodes]]:
        """Yield codes; adds to `near_sums` and `active` [latent] how many tokens are so."""
        for tokens in blocks(z):
            pre_acts = pre_activations(z[tokens], weights, self._workspace)
            near = (pre_acts - weights.threshold).abs_() < self.bandwidth / 2
            near_sums += near.sum(dim=0)
            latents = pre_acts.mul_((pre_acts > weights.threshold) & (pre_acts > 0))
            active += (latents > 0).sum(dim=0)
            buffer = self._workspace.get("gradient", *pre_acts.shape, like=z)
            yield tokens, JumpCodes(latents, near, weights.threshold, self.bandwidth, buffer)

    def settle(self, weights: Weights) -> None:
        weights.threshold.clamp_(min=0)

    def to_sae(self, weights: Weights, input_norm: str) -> Sae:
        return to_sae(weights.arrays(weights.threshold), "jumprelu", input_norm, "jumprelu")

"""JumpReLU: a threshold per latent, trained through a straight-through estimator.

Rajamanoharan et al. 2024 (JumpReLU, Eqs 9-12): f = p · 1[p > θ], loss λ L0, both gradients of θ
through a rectangle of width ε around it; Gemma Scope 2's quadratic pull towards a wanted L0.
"""

from __future__ import annotations

import torch

from clip_sae.planning.recipes import SaeRecipe
from clip_sae.sae import Sae
from clip_sae.training.blocks import blocks
from clip_sae.training.entries import entries_where
from clip_sae.training.losses import Losses, miss
from clip_sae.training.method import Method
from clip_sae.training.parallel import Replicas
from clip_sae.training.selection import pre_activations
from clip_sae.training.targets import Target
from clip_sae.training.weights import Weights, to_sae
from clip_sae.training.workspace import Workspace


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
        losses = Losses.zero(target, weights)
        near = torch.zeros_like(weights.b_enc)
        active = torch.zeros_like(losses.n_active)
        for tokens in blocks(z):
            pre_acts = pre_activations(z[tokens], weights, self._workspace)
            reaches = pre_acts > weights.threshold - self.bandwidth / 2
            entries, p, reaches = entries_where(pre_acts, reaches)
            theta = entries.spread(weights.threshold)
            opened = (p > theta) & (p > 0)
            is_near = reaches & (p < theta + self.bandwidth / 2)
            near += entries.total(is_near.to(p))
            active += torch.count_nonzero(opened)
            latents = p * opened
            z_hat = entries.decode(latents, weights.W_dec).add_(weights.b_dec)
            loss, g = miss(target, tokens, z_hat, losses.error[tokens])
            losses.reconstruction += loss
            losses.sums += entries.total(latents)
            entries.add_(grads.W_dec, latents, g)
            grads.b_dec.add_(g.sum(dim=0))
            d_latents = entries.product(g, weights.W_dec)
            # A latent falls from θ to 0 where θ passes p: dL/dθ = -(θ/ε) Σ 1[near] dL/df.
            through = entries.total(d_latents * is_near)
            grads.threshold.addcmul_(weights.threshold, through, value=-1 / self.bandwidth)
            d_pre = d_latents * opened
            entries.add_(grads.W_enc_rows, d_pre, z[tokens])
            grads.b_enc.add_(entries.total(d_pre))
        losses.n_active = active.clone()
        slope = self._sparsity(losses, active, target.n_tokens, pressure)
        grads.threshold.sub_(near * (slope / (self.bandwidth * target.n_tokens)))
        return losses

    def _sparsity(
        self, losses: Losses, active: torch.Tensor, n_tokens: int, pressure: float
    ) -> torch.Tensor:
        """Set the sparsity loss from the number of active latents; return its slope over L0."""
        self._replicas.sum_(active)
        l0 = active.to(losses.sums) / n_tokens
        coefficient = self.l0_coefficient * pressure
        if self.target_l0 is None:
            loss, slope = coefficient * l0, torch.full_like(l0, coefficient)
        else:
            excess = l0 / self.target_l0 - 1
            loss, slope = coefficient * excess**2, 2 * coefficient / self.target_l0 * excess
        # This replica's share of the loss; the shares are added up with the other losses.
        losses.sparsity = loss / self._replicas.size
        return slope

    def settle(self, weights: Weights) -> None:
        weights.threshold.clamp_(min=0)

    def to_sae(self, weights: Weights, input_norm: str) -> Sae:
        return to_sae(weights.arrays(weights.threshold), "jumprelu", input_norm, "jumprelu")

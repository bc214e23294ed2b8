"""Vanilla SAE: ReLU and an L1 penalty. Steering paper Eq. 3 and App. 10."""

from __future__ import annotations

import torch

from clip_sae.sae import Sae
from clip_sae.sae.folding import fold_decoder_norm
from clip_sae.training.encoders import ReluEncoder
from clip_sae.training.losses import Losses, reconstruct
from clip_sae.training.method import Method
from clip_sae.training.targets import Target
from clip_sae.training.weights import Weights, to_sae
from clip_sae.training.workspace import Workspace


class Vanilla(Method):
    """λ Σ f with unit-norm rows; or λ Σ f_j ‖n_j‖ with rows of any norm (Anthropic, April 2024).

    A free row's norm is folded into the encoder when training ends, which changes no output.
    """

    def __init__(self, l1: float, *, free_norm: bool, workspace: Workspace) -> None:
        self.l1, self.unit_norm = l1, not free_norm
        self._encoder = ReluEncoder(workspace)

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
        per_unit = self.l1 * pressure / target.n_tokens
        codes = self._encoder.encode(z, weights)
        if self.unit_norm:
            return reconstruct(
                target, z, codes, weights, grads, per_unit, count_active=count_active
            )
        norms = torch.linalg.vector_norm(weights.W_dec, dim=1)
        losses = reconstruct(
            target, z, codes, weights, grads, per_unit * norms, count_active=count_active
        )
        slope = (losses.sums * per_unit / norms.clamp_min(1e-12)).unsqueeze(1)
        grads.W_dec.addcmul_(weights.W_dec, slope)
        return losses

    def to_sae(self, weights: Weights, input_norm: str) -> Sae:
        arrays = weights.arrays()
        arrays = arrays if self.unit_norm else fold_decoder_norm(arrays)
        return to_sae(arrays, "vanilla", input_norm, "standard")

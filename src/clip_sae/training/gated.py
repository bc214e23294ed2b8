"""Gated SAE: one half decides whether a latent fires, the other how strongly.

Rajamanoharan et al. 2024 (Gated SAEs, Eqs 4-8): f = 1[π > 0] ReLU(e^r h + b_mag), π = h + b_gate,
h = z W_enc; loss = reconstruction + λ Σ ReLU(π) + the error of reconstructing from ReLU(π) through
a decoder that is a constant to this term.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from clip_sae.sae import Sae
from clip_sae.sae.folding import fold_gated
from clip_sae.training.blocks import blocks
from clip_sae.training.entries import entries_where
from clip_sae.training.losses import Losses, miss
from clip_sae.training.method import Method
from clip_sae.training.targets import Target
from clip_sae.training.weights import Weights, to_sae
from clip_sae.training.workspace import Workspace


class Gated(Method):
    """`b_enc` is b_mag; `b_gate` and `r_mag` [latent] are arrays of its own, zero at the start."""

    def __init__(self, l1: float, workspace: Workspace) -> None:
        self.l1, self._workspace = l1, workspace

    def add_arrays(self, weights: Weights) -> None:
        weights.b_gate = torch.zeros_like(weights.b_enc)
        weights.r_mag = torch.zeros_like(weights.b_enc)

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
        l1 = self.l1 * pressure / target.n_tokens
        for tokens in blocks(z):
            shape = (len(z[tokens]), len(weights.b_enc))
            hidden = self._workspace.get("pre_acts", *shape, like=z)
            torch.mm(z[tokens], weights.W_enc_rows.T, out=hidden)
            entries, h, opened = entries_where(hidden, hidden > -weights.b_gate)
            scale = entries.spread(weights.r_mag.exp())
            gate = (h + entries.spread(weights.b_gate)) * opened
            magnitude = h * scale + entries.spread(weights.b_enc)
            fires = opened & (magnitude > 0)
            latents = magnitude * fires
            z_hat = entries.decode(latents, weights.W_dec).add_(weights.b_dec)
            loss, g = miss(target, tokens, z_hat, losses.error[tokens])
            losses.reconstruction += loss
            losses.sums += entries.total(latents)
            if count_active:
                losses.n_active += torch.count_nonzero(fires)
            entries.add_(grads.W_dec, latents, g)
            grads.b_dec.add_(g.sum(dim=0))
            d_magnitude = entries.product(g, weights.W_dec) * fires
            grads.b_enc.add_(entries.total(d_magnitude))
            grads.r_mag.add_(entries.total(d_magnitude * h * scale))
            # The gate learns only here: the step of f at π = 0 has no gradient.
            z_gate = entries.decode(gate, weights.W_dec).add_(weights.b_dec)
            loss, g = miss(target, tokens, z_gate, torch.empty_like(z_gate))
            losses.sparsity += loss + l1 * gate.sum()
            d_gate = (entries.product(g, weights.W_dec) + l1) * opened
            grads.b_gate.add_(entries.total(d_gate))
            entries.add_(grads.W_enc_rows, d_gate + d_magnitude * scale, z[tokens])
        return losses

    def input_gradient(self, weights: Weights, grads: Weights) -> torch.Tensor:
        return weights.r_mag.exp() * grads.b_enc + grads.b_gate

    def to_sae(self, weights: Weights, input_norm: str) -> Sae:
        own = (weights.r_mag.cpu(), weights.b_gate.cpu())
        arrays = weights.arrays()
        W_enc, b_enc, threshold = fold_gated(arrays.W_enc, *own, arrays.b_enc)
        folded = replace(arrays, W_enc=W_enc, b_enc=b_enc, threshold=threshold)
        return to_sae(folded, "jumprelu", input_norm, "gated")

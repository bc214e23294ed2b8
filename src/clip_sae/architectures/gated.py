"""Gated SAE: one half decides whether a latent fires, the other how strongly.

Rajamanoharan et al. 2024 (Gated SAEs, Eqs 4-8): f = 1[π > 0] ReLU(e^r h + b_mag), π = h + b_gate,
h = z W_enc; loss = reconstruction + λ Σ ReLU(π) + the error of reconstructing from ReLU(π) through
a decoder that is a constant to this term.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from clip_sae.architectures.base import (
    Arrays,
    Code,
    SaeArchitecture,
    SaeWeights,
    Tensor,
    l1_key,
    register,
    warmup_key,
)


@register("gated")
@dataclass(frozen=True, kw_only=True)
class Gated(SaeArchitecture):
    """`b_enc` is b_mag; `b_gate` and `r_mag` are arrays of its own, zero at the start."""

    l1_coefficient: float = l1_key("weight of the L1 term on the gates")
    sparsity_warmup_steps: int = warmup_key()

    trained_as = "gated"
    read_as = "jumprelu"

    def encode(self, z: Tensor, w: SaeWeights) -> Code:
        hidden = z @ w.W_enc_rows.T
        gate = hidden + w.own["b_gate"]
        magnitude = (hidden * w.own["r_mag"].exp() + w.b_enc).relu()
        opened = gate.relu()
        penalty = self.l1_coefficient * opened.sum(dim=1).mean()
        # The step at π = 0 has no gradient: the gates learn from `penalty` and `frozen` alone.
        return Code(magnitude * (gate > 0), penalty, frozen=opened)

    def start(self) -> dict[str, float]:
        return {"b_gate": 0.0, "r_mag": 0.0}

    def folded(self, arrays: Arrays, own: Mapping[str, Tensor]) -> Arrays:
        from clip_sae.sae.folding import fold_gated  # torch

        gate = (own["r_mag"], own["b_gate"], arrays.b_enc)
        W_enc, b_enc, threshold = fold_gated(arrays.W_enc, *gate)
        return replace(arrays, W_enc=W_enc, b_enc=b_enc, threshold=threshold)

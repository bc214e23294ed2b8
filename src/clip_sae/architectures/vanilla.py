"""Vanilla SAE: ReLU and an L1 penalty. Steering paper Eq. 3 and App. 10."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clip_sae.architectures.base import (
    Arrays,
    Code,
    SaeArchitecture,
    SaeWeights,
    Tensor,
    ghost_grads_key,
    l1_key,
    pre_activations,
    register,
    warmup_key,
)
from clip_sae.planning.recipe_values import choice, key


@register("vanilla")
@dataclass(frozen=True, kw_only=True)
class Vanilla(SaeArchitecture):
    """λ Σ f with unit-norm rows; or λ Σ f_j ‖n_j‖ with rows of any norm (Anthropic, April 2024).

    A free row's norm is folded into the encoder when training ends, which changes no output.
    """

    l1_coefficient: float = l1_key()
    decoder_norm: str = key(
        choice("unit", "free"),
        "unit rows of W_dec, or free ones whose norms weigh the L1 term",
        default="unit",
    )
    sparsity_warmup_steps: int = warmup_key()
    ghost_grads: bool = ghost_grads_key()

    forms = ("standard", "prisma_compat", "patchsae")
    trained_as = "standard"

    def encode(self, z: Tensor, w: SaeWeights) -> Code:
        latents = pre_activations(z, w).relu()
        norms = 1.0 if self.unit_norm else w.W_dec.norm(dim=1)
        return Code(latents, self.l1_coefficient * (latents * norms).sum(dim=1).mean())

    def folded(self, arrays: Arrays, own: Mapping[str, Tensor]) -> Arrays:
        from clip_sae.sae.folding import fold_decoder_norm  # torch

        return arrays if self.unit_norm else fold_decoder_norm(arrays)

    @property
    def unit_norm(self) -> bool:
        return self.decoder_norm == "unit"

    @property
    def initial_row_norm(self) -> float:
        return 1.0 if self.unit_norm else 0.1  # free rows start short, as in SAELens

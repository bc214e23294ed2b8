"""JumpReLU SAE: a threshold per latent, trained through a straight-through estimator.

Rajamanoharan et al. 2024 (JumpReLU, Eqs 9-12): f = p · 1[p > θ], loss λ L0, both gradients of θ
through a rectangle of width ε around it; Gemma Scope 2's quadratic pull towards a wanted L0.
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
    aux_k_key,
    pre_activations,
    register,
    warmup_key,
)
from clip_sae.planning.recipe_values import NOT_NEGATIVE, POSITIVE, key


@register("jumprelu")
@dataclass(frozen=True, kw_only=True)
class JumpRelu(SaeArchitecture):
    """λ · L0, or λ (L0 / target − 1)² where a target L0 is given.

    θ itself is trained, not its logarithm, under which Adam hardly moves small thresholds.
    """

    l0_coefficient: float = key(NOT_NEGATIVE, "weight of the L0 term", example=0.01)
    target_l0: float | None = key(
        POSITIVE.or_null(),
        "L0 that the loss pulls to; null for a term that only pushes down",
        default=None,
    )
    bandwidth: float = key(
        POSITIVE, "width of the gradient estimator, in units of the pre-activations", default=0.1
    )
    initial_threshold: float = key(NOT_NEGATIVE, "start of the thresholds", default=0.1)
    sparsity_warmup_steps: int = warmup_key()
    aux_k: int | str | None = aux_k_key(None)

    trained_as = read_as = "jumprelu"

    def encode(self, z: Tensor, w: SaeWeights) -> Code:
        p, theta = pre_activations(z, w), w.own["threshold"]
        opened = ((p > theta) & (p > 0)).to(p)
        near = ((p - theta).abs() < self.bandwidth / 2).to(p) / self.bandwidth
        passing = theta.detach() - theta  # zero, with the gradient that a step lacks
        latents = p * opened + (near * theta).detach() * passing
        l0 = (opened + near * passing).sum(dim=1).mean()
        excess = l0 if self.target_l0 is None else (l0 / self.target_l0 - 1) ** 2
        return Code(latents, self.l0_coefficient * excess)

    def start(self) -> dict[str, float]:
        return {"threshold": self.initial_threshold}

    def settle(self, w: SaeWeights) -> None:
        w.own["threshold"].clamp_(min=0)

    def folded(self, arrays: Arrays, own: Mapping[str, Tensor]) -> Arrays:
        return replace(arrays, threshold=own["threshold"])

    @property
    def sparsity_knob(self) -> str:
        return "l0_coefficient" if self.target_l0 is None else "target_l0"

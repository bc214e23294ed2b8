"""BatchTopK SAE: as many latents as a batch needs, k per token on average.

Bussmann et al. 2024. A token alone is read with a threshold, their Eq. 3.
"""

from __future__ import annotations

from dataclasses import dataclass

from clip_sae.architectures.base import (
    Code,
    SaeArchitecture,
    SaeWeights,
    Tensor,
    aux_k_key,
    k_key,
    pre_activations,
    register,
)


@register("batchtopk")
@dataclass(frozen=True, kw_only=True)
class BatchTopK(SaeArchitecture):
    """The k x token largest pre-activations of the whole batch, then ReLU; of ties all."""

    k: int = k_key("active latents per token, on average over a batch")
    aux_k: int | str | None = aux_k_key()

    trained_as = "batchtopk"
    read_as = "jumprelu"
    running_threshold = True

    def encode(self, z: Tensor, w: SaeWeights) -> Code:
        pre_acts = pre_activations(z, w)
        cut = pre_acts.flatten().topk(self.k * len(z)).values[-1]
        return Code(pre_acts.relu() * (pre_acts >= cut))

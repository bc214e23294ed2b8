"""TopK SAE: sparsity by choice of the largest, without a penalty. Gao et al. 2024."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clip_sae.architectures.base import (
    Code,
    SaeArchitecture,
    SaeWeights,
    Tensor,
    aux_k_key,
    ghost_grads_key,
    k_key,
    pre_activations,
    register,
)


@register("topk")
@dataclass(frozen=True, kw_only=True)
class TopK(SaeArchitecture):
    """The k largest pre-activations of each token, then ReLU."""

    k: int = k_key()
    aux_k: int | str | None = aux_k_key()
    ghost_grads: bool = ghost_grads_key()

    forms = ("standard", "prisma_compat")
    trained_as = read_as = "topk"

    def encode(self, z: Tensor, w: SaeWeights) -> Code:
        pre_acts = pre_activations(z, w)
        kth = pre_acts.topk(self.k, dim=1).values[:, -1:]
        return Code(pre_acts.relu() * (pre_acts >= kth))

    def mistakes(self, form: str) -> Iterator[str]:
        """Each remedy for dead latents belongs to one form."""
        if form == "prisma_compat" and self.aux_k is not None:
            yield (
                "remove aux_k: the paper's code has no AuxK. Write `form: standard` to train with "
                "AuxK, or `ghost_grads: true` for the paper's remedy."
            )
        if form == "standard" and self.ghost_grads:
            # equations.md: the paper's ghost grads on TopK are its code's own combination.
            yield (
                "a standard TopK SAE revives dead latents by AuxK, not by ghost_grads. Remove "
                "ghost_grads (aux_k is on by default), or write `form: prisma_compat`, whose code "
                "combines TopK with ghost grads."
            )

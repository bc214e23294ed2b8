"""SAE architectures, one file each: their keys in a recipe, and their latents as a formula.

    @register("topk")
    @dataclass(frozen=True, kw_only=True)
    class TopK(SaeArchitecture): ...

Nothing lists the files. Planning reads the keys without torch; training computes gradients from
`encode` by autograd, or by a faster pass where `clip_sae.training` has one.
"""

from clip_sae.architectures.base import (
    Code,
    SaeArchitecture,
    SaeWeights,
    architectures,
    pre_activations,
    register,
)

__all__ = [
    "Code",
    "SaeArchitecture",
    "SaeWeights",
    "architectures",
    "pre_activations",
    "register",
]

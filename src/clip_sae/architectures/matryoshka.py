"""Matryoshka SAE: every prefix of the dictionary reconstructs by itself.

Bussmann et al. 2025 (nested in width, on BatchTopK codes).
"""

from __future__ import annotations

from dataclasses import dataclass

from clip_sae.architectures.base import register
from clip_sae.architectures.batchtopk import BatchTopK
from clip_sae.planning.recipe_values import SHARES, key


@register("matryoshka")
@dataclass(frozen=True, kw_only=True)
class Matryoshka(BatchTopK):
    """BatchTopK's latents; the loss is the mean over prefixes of their reconstruction losses.

    ASSUME: the mean over prefixes (released trainers take the sum, the mean, or both), so that the
    loss has the scale of the other architectures'. The logged explained variance and AuxK take the
    whole dictionary's error.
    """

    prefixes: tuple[float, ...] = key(
        SHARES,
        "nested dictionaries as shares of d_sae, ascending to 1",
        default=(0.0625, 0.125, 0.25, 0.5, 1.0),
    )

    trained_as = "matryoshka_batchtopk"

    def nested(self, d_sae: int) -> tuple[int, ...]:
        return tuple(sorted({max(1, round(share * d_sae)) for share in self.prefixes}))

"""The inference threshold of BatchTopK: the smallest latent that a batch keeps, averaged.

Bussmann et al. 2024, Eq. 3: the expectation over batches of the smallest positive kept latent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

# ASSUME: the weights still move, so the mean is exponential, over about the last 100 batches. It is
# divided by its weights' sum, so that it starts at the first batch's value and not at zero.
DECAY = 0.99


@dataclass
class RunningThreshold:
    """`sums`: weighted sum of the values and sum of the weights, float64 [2]."""

    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))

    def update(self, smallest: torch.Tensor | None) -> None:
        """Take in a batch's smallest positive latent; None if it kept none."""
        if smallest is None:
            return
        now = torch.stack([smallest.double().cpu(), torch.ones((), dtype=torch.float64)])
        self.sums.mul_(DECAY).add_(now, alpha=1 - DECAY)

    @property
    def value(self) -> float:
        """The threshold, 0 before the first update."""
        total, weight = self.sums.tolist()
        return total / weight if weight else 0.0

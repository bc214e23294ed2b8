"""Adam on an SAE's arrays as one fused pass over memory, and the schedules of a training.

Steering paper App. 10: Adam (Kingma & Ba 2015), cosine with a 200-step warm-up.
"""

from __future__ import annotations

import math

import torch

from clip_sae.planning.recipes import SaeRecipe
from clip_sae.training.weights import Weights

EPS = 1e-8


class Adam:
    """Bias-corrected Adam without weight decay; moments are `first` and `second`.

    torch.optim's class is not used: building one imports torch's compiler, which takes seconds, and
    its state is awkward to save exactly.
    """

    def __init__(self, weights: Weights, betas: tuple[float, float]) -> None:
        self._weights, self._betas = weights, betas
        self.first, self.second = weights.zeros_like(), weights.zeros_like()
        self.n_steps = 0

    def step(self, grads: Weights, lr: float, divisor: torch.Tensor | None = None) -> None:
        """Move the weights, in place, by one step on `grads` / `divisor` (scalar).

        Dividing in this one pass saves reading and writing all gradients for their clipping.
        """
        tensors = list(self._weights.tensors().values())
        # The kernel reads the number of this step, counted from 1, next to each tensor.
        self.n_steps += 1
        steps = torch.full((), self.n_steps, dtype=torch.float32, device=tensors[0].device)
        torch._fused_adam_(
            tensors,
            list(grads.tensors().values()),
            list(self.first.tensors().values()),
            list(self.second.tensors().values()),
            [],
            [steps] * len(tensors),
            lr=lr,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=0.0,
            eps=EPS,
            amsgrad=False,
            maximize=False,
            grad_scale=None if divisor is None else divisor.float(),
        )


def lr_factor(recipe: SaeRecipe, step: int, total_steps: int) -> float:
    """Return the factor on `recipe.lr` at `step` (from 0) of `total_steps`.

    Warm-up is linear and reaches 1 at its last step; `cosine` then falls. A warm-up longer than the
    training never ends, as in the paper's code.
    """
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    if recipe.lr_schedule == "constant":
        return 1.0
    progress = (step - recipe.warmup_steps) / max(total_steps - recipe.warmup_steps, 1)
    # The paper's code passes lr / 10 as the end value, where a factor is expected.
    # ASSUME: the paper does not say where the cosine ends; the standard form ends at zero.
    floor = recipe.lr / 10 if recipe.form == "prisma_compat" else 0.0
    return floor + 0.5 * (1 - floor) * (1 + math.cos(math.pi * progress))


def pressure(recipe: SaeRecipe, step: int) -> float:
    """Return the factor on the sparsity term at `step` (from 0): a linear warm-up to 1."""
    warm_up = getattr(recipe.own, "sparsity_warmup_steps", 0)
    return (step + 1) / warm_up if step < warm_up else 1.0

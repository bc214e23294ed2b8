"""Adam on an SAE's four arrays, as one fused pass over memory.

Steering paper App. 10 (Adam, Kingma & Ba 2015). torch.optim's class is not used: building one
imports torch's compiler, which takes seconds, and its state is awkward to save exactly.
"""

from __future__ import annotations

import torch

from clip_sae.training.weights import Weights

EPS = 1e-8


class Adam:
    """Bias-corrected Adam without weight decay; moments are `first` and `second`."""

    def __init__(self, weights: Weights, betas: tuple[float, float]) -> None:
        self._weights, self._betas = weights, betas
        self.first, self.second = weights.zeros_like(), weights.zeros_like()
        self.n_steps = 0

    def step(self, grads: Weights, lr: float, divisor: torch.Tensor | None = None) -> None:
        """Move the weights, in place, by one step on `grads` / `divisor` (scalar).

        Dividing in this one pass saves reading and writing all gradients for their clipping.
        """
        tensors = list(self._weights.tensors().values())
        # The kernel reads the number of this step, counted from 1, beside each tensor.
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

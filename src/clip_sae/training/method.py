"""What an architecture is to the trainer: a forward and backward pass, and what it becomes.

Steering paper Eq. 3. A new architecture is one subclass, an entry in methods.py, and its rules in
recipes.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from clip_sae.sae import Sae
from clip_sae.training.losses import Losses
from clip_sae.training.targets import Target
from clip_sae.training.weights import Weights


class Method(ABC):
    """One architecture while it is trained."""

    unit_norm = True  # whether decoder rows are held at norm 1
    selects = False  # whether it looks for the largest latents (selection.py)

    @abstractmethod
    def backward(
        self,
        target: Target,
        weights: Weights,
        grads: Weights,
        *,
        pressure: float,
        count_active: bool,
    ) -> Losses:
        """Add the gradients of reconstruction and sparsity; `pressure` in 0 … 1 is the warm-up.

        What reaches b_dec through the encoder's input is left out: see `input_gradient`.
        """

    @abstractmethod
    def to_sae(self, weights: Weights, input_norm: str) -> Sae:
        """Return the trained SAE, with unit-norm decoder rows, on the CPU."""

    def add_arrays(self, weights: Weights) -> None:  # noqa: B027
        """Give `weights` the arrays that this architecture has beside the four of every SAE."""

    def input_gradient(self, weights: Weights, grads: Weights) -> torch.Tensor:
        """Return Σ over tokens of dL/d(z W_enc) [latent], from finished gradients."""
        return grads.b_enc

    def settle(self, weights: Weights) -> None:  # noqa: B027
        """Restore constraints after an optimiser step, and note what inference will need."""

    def state(self) -> dict[str, torch.Tensor]:
        """Tensors, changed in place, that decide what comes and are not weights."""
        return {}

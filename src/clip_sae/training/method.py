"""Losses and gradients of an architecture, by autograd from its formula.

Steering paper Eq. 3. `clip_sae.architectures` has the formulas; fast.py has passes that
compute the same numbers sooner, in chunks of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from clip_sae.architectures import SaeArchitecture
from clip_sae.sae import Sae
from clip_sae.training.losses import Losses, StepInput
from clip_sae.training.parallel import Replicas
from clip_sae.training.targets import Target
from clip_sae.training.weights import Weights, to_sae
from clip_sae.training.workspace import Workspace

# ASSUME: the weights still move, so the mean is exponential, over about the last 100 batches. It is
# divided by its weights' sum, so that it starts at the first batch's value and not at zero.
DECAY = 0.99


@dataclass
class RunningThreshold:
    """The inference threshold of BatchTopK: the smallest latent that a batch keeps, averaged.

    Bussmann et al. 2024, Eq. 3. `sums`: weighted sum of the values and sum of the weights, [2].
    """

    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))

    def update(self, smallest: torch.Tensor | None) -> None:
        """Add a batch's smallest positive latent to the mean; None if it kept none."""
        if smallest is None:
            return
        now = torch.stack([smallest.double().cpu(), torch.ones((), dtype=torch.float64)])
        self.sums.mul_(DECAY).add_(now, alpha=1 - DECAY)

    @property
    def value(self) -> float:
        """The threshold; 0 before the first update."""
        total, weight = self.sums.tolist()
        return total / weight if weight else 0.0


class Method:
    """One architecture while it is trained, in one process; the whole batch at once.

    `smallest_kept`: the smallest positive latent of the last batch (scalar), None without one.
    """

    selects = False  # whether it looks for the largest latents (selection.py)
    shares_batches = False  # whether several processes can each take a part of a batch

    def __init__(
        self, own: SaeArchitecture, d_sae: int, workspace: Workspace, replicas: Replicas
    ) -> None:
        self.own, self.d_sae = own, d_sae
        self.workspace, self.replicas = workspace, replicas
        self.unit_norm = own.unit_norm
        self.threshold = RunningThreshold() if own.running_threshold else None
        self.smallest_kept: torch.Tensor | None = None
        self._into_b_enc: torch.Tensor | None = None

    def backward(self, step: StepInput) -> Losses:
        """Add the gradients of reconstruction and sparsity to `step.grads`; return the losses.

        A fast pass leaves the gradient of b_dec through the encoder's input to `input_gradient`.
        """
        target, losses = step.target, Losses.zero(step.target, step.weights)
        leaves = {name: t.detach().requires_grad_() for name, t in step.weights.tensors().items()}
        w, z = Weights.of(leaves), step.z.detach().requires_grad_()
        with torch.enable_grad():
            code = self.own.encode(z, w)
            prefixes = self.own.nested(self.d_sae)
            decoded = [code.latents[:, :m] @ w.W_dec[:m] + w.b_dec for m in prefixes]
            reconstruction = sum(_loss(target, z_hat) for z_hat in decoded) / len(prefixes)
            sparsity = torch.as_tensor(code.penalty).to(z) * step.pressure
            if code.frozen is not None:
                frozen = code.frozen @ w.W_dec.detach() + w.b_dec.detach()
                sparsity = sparsity + _loss(target, frozen)
            total = reconstruction + sparsity
        *found, d_z = torch.autograd.grad(
            total, [*leaves.values(), z], allow_unused=True, materialize_grads=True
        )
        for grad, more in zip(step.grads.tensors().values(), found, strict=True):
            grad.add_(more)
        step.grads.b_dec.sub_(d_z.sum(dim=0))  # z = normed x - b_dec
        self._into_b_enc = step.grads.b_enc.clone()
        latents = code.latents.detach()
        losses.reconstruction, losses.sparsity = reconstruction.detach(), sparsity.detach()
        losses.error = target.target - target.scale * decoded[-1].detach()
        losses.sums = latents.sum(dim=0)
        losses.n_active = torch.count_nonzero(latents)
        kept = latents[latents > 0] if self.threshold else latents[:0]
        self.smallest_kept = kept.min() if kept.numel() else None
        return losses

    def input_gradient(self, weights: Weights, grads: Weights) -> torch.Tensor:
        """Return the part of Σ over tokens of dL/d(z W_enc) [latent] that b_dec still lacks.

        Here only a revival's share of the gradient of b_enc; in a fast pass the whole gradient.
        """
        return grads.b_enc - self._into_b_enc

    def settle(self, weights: Weights) -> None:
        """Restore constraints after an optimiser step, and note values for inference."""
        self.own.settle(weights)
        if self.threshold:
            self.threshold.update(self.smallest_kept)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors, changed in place, that decide later steps and are not weights."""
        return {"running_threshold": self.threshold.sums} if self.threshold else {}

    def to_sae(self, weights: Weights, input_norm: str) -> Sae:
        """Return the trained SAE, with unit-norm decoder rows, on the CPU."""
        arrays = weights.arrays()
        if self.threshold:
            arrays = replace(arrays, threshold=torch.full_like(arrays.b_enc, self.threshold.value))
        arrays = self.own.folded(arrays, {name: t.cpu() for name, t in weights.own.items()})
        k = self.own.k if self.own.read_as == "topk" else None
        return to_sae(arrays, self.own.read_as, input_norm, self.own.trained_as, k=k)


def _loss(target: Target, z_hat: torch.Tensor) -> torch.Tensor:
    """Return the reconstruction loss of a decoder output [token, d_model]; see targets.py."""
    return ((target.target - target.scale * z_hat).square() * target.weight).sum()

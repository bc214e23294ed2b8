"""Input and losses of a step, and the parts that the fast passes share.

Steering paper Eq. 3. The reconstruction loss is Σ_i weight_i ‖target_i − scale_i ẑ_i‖²; see
targets.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from clip_sae.training.codes import Codes, Penalty
from clip_sae.training.targets import Target
from clip_sae.training.weights import Weights


@dataclass(frozen=True)
class StepInput:
    """Input of a step's forward and backward pass, and the gradients that it adds to.

    `z` [token, d_model]: normed tokens minus b_dec. `pressure` in 0 … 1: the warm-up of the
    sparsity term. `count_active`: whether `Losses.n_active` is needed.
    """

    target: Target
    z: torch.Tensor
    weights: Weights
    grads: Weights
    pressure: float
    count_active: bool


@dataclass
class Losses:
    """One batch's losses (scalars), error [token, d_model], Σ over tokens of latents [latent].

    `error` is target minus output, in the units of the loss; `aux` revives dead latents;
    `squared` is the sum of squared errors in the units of x; `n_active` counts latents and tokens.
    """

    reconstruction: torch.Tensor
    sparsity: torch.Tensor
    aux: torch.Tensor
    error: torch.Tensor
    sums: torch.Tensor
    n_active: torch.Tensor
    squared: torch.Tensor

    @classmethod
    def zero(cls, target: Target, weights: Weights) -> Losses:
        """Return losses to add to; `error` is filled chunk by chunk."""

        def zero(dtype: torch.dtype | None = None) -> torch.Tensor:
            return target.z.new_zeros((), dtype=dtype)

        error, sums = torch.empty_like(target.target), torch.zeros_like(weights.b_enc)
        return cls(zero(), zero(), zero(), error, sums, zero(torch.int64), zero())

    def count(self, codes: Codes, *, active: bool) -> None:
        """Add a chunk's latents to `sums` and, if `active`, to `n_active`."""
        self.sums += codes.sums()
        if active:
            self.n_active += codes.n_active()

    def sums_over_tokens(self) -> list[torch.Tensor]:
        """Return everything that adds up over the shares of a batch."""
        scalars = [self.reconstruction, self.sparsity, self.aux, self.squared]
        return [*scalars, self.n_active, self.sums]

    def figures(self, target: Target) -> dict[str, float]:
        """Return losses, l0 and explained variance as numbers; l0 needs a count of the active."""
        return {
            "loss": float(self.reconstruction + self.sparsity + self.aux),
            "reconstruction_loss": float(self.reconstruction),
            "sparsity_loss": float(self.sparsity),
            "aux_loss": float(self.aux),
            "l0": int(self.n_active) / target.n_tokens,
            # A last batch of one token has no variance that could be explained.
            "explained_variance": float(1 - self.squared / target.total_variance)
            if target.total_variance > 0
            else float("nan"),
        }


def miss(
    target: Target, tokens: slice, z_hat: torch.Tensor, out: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (loss, dL/dẑ [token, d_model]) of a chunk; its error is written to `out`.

    `z_hat` [token, d_model] is the decoder's output, overwritten.
    """
    torch.sub(target.target[tokens], z_hat.mul_(target.scale[tokens]), out=out)
    weight = target.weight[tokens]
    loss = (out.square().sum(dim=1, keepdim=True) * weight).sum()
    return loss, out * (-2 * weight * target.scale[tokens])


def reconstruct(step: StepInput, chunks: Iterable[tuple[slice, Codes]], penalty: Penalty) -> Losses:
    """Add the gradients of reconstruction and Σ penalty f to those of the step.

    `chunks` are the codes of `step.z`, by their tokens.
    """
    target, weights, grads = step.target, step.weights, step.grads
    losses = Losses.zero(target, weights)
    for tokens, codes in chunks:
        z_hat = codes.decode(weights.W_dec).add_(weights.b_dec)
        loss, g = miss(target, tokens, z_hat, losses.error[tokens])
        losses.reconstruction += loss
        losses.count(codes, active=step.count_active)
        codes.backward(grads, step.z[tokens], g, weights.W_dec, penalty)
        grads.b_dec.add_(g.sum(dim=0))
    losses.sparsity += (losses.sums * penalty).sum()
    return losses

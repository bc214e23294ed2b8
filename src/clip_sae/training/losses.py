"""What a step's forward and backward pass returns, and the pieces that all architectures share.

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


@dataclass
class Losses:
    """One batch's losses (scalars), error [token, d_model], Σ over tokens of latents [latent].

    `error` is target minus output, in the units of the loss; `aux` is what revives dead latents;
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
        """Losses to be added to; `error` is filled block by block."""

        def zero(dtype: torch.dtype | None = None) -> torch.Tensor:
            return target.z.new_zeros((), dtype=dtype)

        error, sums = torch.empty_like(target.target), torch.zeros_like(weights.b_enc)
        return cls(zero(), zero(), zero(), error, sums, zero(torch.int64), zero())

    def count(self, codes: Codes, *, active: bool) -> None:
        """Add a block's latents to `sums`, and to `n_active` where that is asked for."""
        self.sums += codes.sums()
        if active:
            self.n_active += codes.n_active()

    def sums_over_tokens(self) -> list[torch.Tensor]:
        """Everything that adds up over the shares of a batch."""
        scalars = [self.reconstruction, self.sparsity, self.aux, self.squared]
        return [*scalars, self.n_active, self.sums]

    def figures(self, target: Target) -> dict[str, float]:
        """The losses, l0 and explained variance as numbers; l0 needs a count of the active."""
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
    """Return (loss, dL/dẑ [token, d_model]) of a block; its error is written to `out`.

    `z_hat` [token, d_model] is the decoder's output, overwritten.
    """
    torch.sub(target.target[tokens], z_hat.mul_(target.scale[tokens]), out=out)
    weight = target.weight[tokens]
    loss = (out.square().sum(dim=1, keepdim=True) * weight).sum()
    return loss, out * (-2 * weight * target.scale[tokens])


def reconstruct(
    target: Target,
    z: torch.Tensor,
    blocks: Iterable[tuple[slice, Codes]],
    weights: Weights,
    grads: Weights,
    penalty: Penalty,
    *,
    count_active: bool,
) -> Losses:
    """Forward and backward of reconstruction and Σ penalty f: gradients are added to `grads`.

    `z` [token, d_model]: normed tokens minus b_dec; `blocks` are their codes.
    """
    losses = Losses.zero(target, weights)
    for tokens, codes in blocks:
        z_hat = codes.decode(weights.W_dec).add_(weights.b_dec)
        loss, g = miss(target, tokens, z_hat, losses.error[tokens])
        losses.reconstruction += loss
        losses.count(codes, active=count_active)
        codes.backward(grads, z[tokens], g, weights.W_dec, penalty)
        grads.b_dec.add_(g.sum(dim=0))
    losses.sparsity += (losses.sums * penalty).sum()
    return losses

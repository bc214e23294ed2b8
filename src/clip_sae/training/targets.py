"""The target of a batch: its normed input, and the weighted error of a reconstruction.

Steering paper App. 10. Each form of the loss is one small function; all are
Σ_i weight_i ‖target_i − scale_i ẑ_i‖², with ẑ the decoder's output before the norm is undone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from clip_sae.sae.module import normalise_tokens, token_statistics


@dataclass(frozen=True)
class NormedBatch:
    """Tokens x [token, d_model], their mean and std [token, 1], and z = normed x."""

    x: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    z: torch.Tensor
    input_norm: str

    @classmethod
    def of(cls, x: torch.Tensor, input_norm: str) -> NormedBatch:
        mean, std = token_statistics(x, input_norm)
        return cls(x, mean, std, normalise_tokens(x, mean, std, input_norm), input_norm)


@dataclass(frozen=True)
class Target:
    """The reconstruction loss of one batch; `weight`, `scale`, `raw_scale` are [token, 1].

    `n_tokens` and `weight` belong to the whole batch, also in a share of it. `raw_scale` turns the
    error into the units of x, for explained variance. `total_variance` is Σ‖x − batch mean‖².
    """

    z: torch.Tensor
    target: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor
    raw_scale: torch.Tensor
    total_variance: torch.Tensor
    n_tokens: int

    def share(self, tokens: slice) -> Target:
        """Return the part of some tokens; their weights stay those of the whole batch."""
        parts = {
            name: getattr(self, name)[tokens]
            for name in ("z", "target", "scale", "weight", "raw_scale")
        }
        return replace(self, **parts)


def standard_target(batch: NormedBatch) -> Target:
    """Mean over tokens of ‖ẑ − z‖²: the squared error in the units that the SAE sees.

    ASSUME: with an input norm the error is taken before the norm is undone, so that every token
    counts the same and λ is in normed units (equations.md); without one this is ‖x̂ − x‖².
    """
    ones = torch.ones_like(batch.std)
    centred = batch.x - batch.x.mean(dim=0)
    return Target(
        z=batch.z,
        target=batch.z,
        scale=ones,
        weight=ones / len(batch.x),
        raw_scale=batch.std,  # without the norm's 1e-5 next to std: a logged figure only
        total_variance=centred.square().sum(),
        n_tokens=len(batch.x),
    )


def prisma_target(batch: NormedBatch) -> Target:
    """Mean over tokens and dimensions of (x̂ − x)² / ‖x − batch mean‖₂, as in the paper's code."""
    return _over_norm_target(batch, batch.x - batch.x.mean(dim=0))


def patchsae_target(batch: NormedBatch) -> Target:
    """Mean over tokens and dimensions of (x̂ − x)² / ‖x‖₂, as in PatchSAE's code."""
    return _over_norm_target(batch, batch.x)


def _over_norm_target(batch: NormedBatch, divisor: torch.Tensor) -> Target:
    """Mean over tokens and dimensions of (x̂ − x)² over the norm of `divisor` [token, d_model]."""
    distance = torch.linalg.vector_norm(divisor, dim=1, keepdim=True)
    centred = torch.linalg.vector_norm(batch.x - batch.x.mean(dim=0), dim=1, keepdim=True)
    # A token of length zero there would divide by zero; here it counts for nothing.
    inverse = torch.where(distance > 0, 1 / distance, torch.zeros_like(distance))
    return Target(
        z=batch.z,
        target=batch.x - batch.mean,
        scale=batch.std,
        weight=inverse / batch.x.numel(),
        raw_scale=torch.ones_like(batch.std),
        total_variance=centred.square().sum(),
        n_tokens=len(batch.x),
    )


FORMS: dict[str, Callable[[NormedBatch], Target]] = {
    "standard": standard_target,
    "prisma_compat": prisma_target,
    "patchsae": patchsae_target,
}


class BatchTargets:
    """The targets of one batch, computed once for all SAEs that share a norm and a form."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x
        self._normed: dict[str, NormedBatch] = {}
        self._targets: dict[tuple[str, str], Target] = {}

    def get(self, input_norm: str, form: str) -> Target:
        """Return the target of `form` on the batch under `input_norm`."""
        if input_norm not in self._normed:
            self._normed[input_norm] = NormedBatch.of(self.x, input_norm)
        key = (input_norm, form)
        if key not in self._targets:
            self._targets[key] = FORMS[form](self._normed[input_norm])
        return self._targets[key]

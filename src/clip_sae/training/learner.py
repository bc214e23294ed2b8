"""One SAE while it is trained: one optimiser step, its state, its figures.

Steering paper App. 10: Adam, gradient clipping, unit-norm decoder rows with the parallel gradient
removed. Gradients are written by hand (codes.py, revival.py); nothing of width d_sae x batch is
kept longer than a block of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from clip_sae.recipes import SaeRecipe
from clip_sae.training.adam import Adam
from clip_sae.training.encoders import Workspace, make_encoder
from clip_sae.training.revival import StepError, make_revival
from clip_sae.training.schedules import lr_factor
from clip_sae.training.targets import BatchTargets, Target
from clip_sae.training.weights import Weights


@dataclass(frozen=True)
class Losses:
    """One batch's losses (scalars), error [token, d_model], Σ over tokens of latents [latent]."""

    reconstruction: torch.Tensor
    aux: torch.Tensor
    error: torch.Tensor
    sums: torch.Tensor
    n_active: int

    def figures(self, target: Target, l1: float) -> dict[str, float]:
        """The losses, l0 and explained variance as numbers; l0 needs `count_active`."""
        n_tokens = len(self.error)
        sparsity = l1 / n_tokens * self.sums.sum()
        squared = (self.error.square().sum(dim=1, keepdim=True) * target.raw_scale**2).sum()
        return {
            "loss": float(self.reconstruction + sparsity + self.aux),
            "reconstruction_loss": float(self.reconstruction),
            "sparsity_loss": float(sparsity),
            "aux_loss": float(self.aux),
            "l0": self.n_active / n_tokens,
            "explained_variance": float(1 - squared / target.total_variance),
        }


class Learner:
    """Weights, Adam and dead-latent counters of one SAE; `step` takes one batch.

    `weights` are owned and changed in place. `tokens_since_fired` [latent] counts tokens; a latent
    is dead when it exceeds `recipe.dead_window_tokens`. `revived` counts dead latents that fired.
    """

    def __init__(
        self, recipe: SaeRecipe, weights: Weights, total_steps: int, workspace: Workspace
    ) -> None:
        d_sae, d_model = weights.W_dec.shape
        self.recipe, self.weights, self.total_steps = recipe, weights, total_steps
        self.grads = weights.zeros_like()
        self.encoder = make_encoder(recipe, workspace)
        self.revival = make_revival(recipe, d_model, workspace)
        self.l1 = recipe.l1_coefficient or 0.0
        self.steps_done = 0
        self.tokens_seen = 0
        self.tokens_since_fired = torch.zeros(d_sae, dtype=torch.int64, device=weights.b_dec.device)
        self.revived = torch.zeros((), dtype=torch.int64, device=weights.b_dec.device)
        self.adam = Adam(weights, recipe.adam_betas)

    def step(self, batch: BatchTargets, *, measure: bool) -> dict[str, float] | None:
        """Take one optimiser step; return its figures when `measure` (losses before the step)."""
        target = batch.get(self.recipe.input_norm, self.recipe.form)
        dead = torch.nonzero(self.dead_mask()).view(-1)
        losses = self.backward(target, dead, count_active=measure)
        lr = self.recipe.lr * lr_factor(self.recipe, self.steps_done, self.total_steps)
        grad_norm = self._update(lr)
        self._count_fired(losses.sums > 0, dead, len(target.z))
        self.steps_done += 1
        self.tokens_seen += len(target.z)
        if not measure:
            return None
        return {
            "step": self.steps_done,
            "tokens": self.tokens_seen,
            **losses.figures(target, self.l1),
            "dead_latents": int(self.dead_mask().sum()),
            "revived_latents": int(self.revived),
            "lr": lr,
            "grad_norm": float(grad_norm),
        }

    def backward(self, target: Target, dead: torch.Tensor, *, count_active: bool = True) -> Losses:
        """Set `grads` to the gradients of the whole loss; `dead` [row] are the dead latents."""
        self.grads.zero_()
        losses = self._reconstruct(target, count_active)
        step = StepError(target.z - self.weights.b_dec, losses.error, losses.reconstruction)
        aux = self.revival.add(step, self.weights, self.grads, dead)
        # z = normed x - b_dec: the encoder's gradients reach b_dec through its input.
        self.grads.b_dec.sub_(self.grads.b_enc @ self.weights.W_enc_rows)
        return replace(losses, aux=aux)

    def dead_mask(self) -> torch.Tensor:
        """Return which latents [latent] have been silent for the whole window."""
        return self.tokens_since_fired > self.recipe.dead_window_tokens

    def _reconstruct(self, target: Target, count_active: bool) -> Losses:
        """Forward and backward of the reconstruction and L1 losses into `self.grads`."""
        z = target.z - self.weights.b_dec
        error = torch.empty_like(target.target)
        sums = torch.zeros_like(self.weights.b_enc)
        n_active = 0
        slope = -2 * target.weight * target.scale
        for tokens, codes in self.encoder.encode(z, self.weights):
            z_hat = codes.decode(self.weights.W_dec).add_(self.weights.b_dec)
            torch.sub(target.target[tokens], z_hat.mul_(target.scale[tokens]), out=error[tokens])
            g = error[tokens] * slope[tokens]  # dL/dẑ
            sums += codes.sums()
            n_active += codes.n_active() if count_active else 0
            codes.backward(self.grads, z[tokens], g, self.weights.W_dec, self.l1 / len(z))
            self.grads.b_dec.add_(g.sum(dim=0))
        loss = (error.square().sum(dim=1, keepdim=True) * target.weight).sum()
        return Losses(loss, torch.zeros_like(loss), error, sums, n_active)

    def _update(self, lr: float) -> torch.Tensor:
        """Clip, project, Adam, renormalise; return the gradient's norm before clipping."""
        grads = list(self.grads.tensors().values())
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in grads]))
        if self.recipe.clip_norm is not None:
            factor = (self.recipe.clip_norm / (norm + 1e-6)).clamp(max=1.0)
            for grad in grads:
                grad.mul_(factor)
        remove_parallel_(self.grads.W_dec, self.weights.W_dec)
        self.adam.step(self.grads, lr)
        normalise_rows_(self.weights.W_dec)
        return norm

    def _count_fired(self, fired: torch.Tensor, dead: torch.Tensor, n_tokens: int) -> None:
        self.revived += fired[dead].sum()
        self.tokens_since_fired += n_tokens
        self.tokens_since_fired.masked_fill_(fired, 0)

    def state(self) -> dict[str, torch.Tensor]:
        """Return every tensor that decides the steps to come, by name."""
        tensors = {
            f"{group}.{name}": tensor
            for group, arrays in self._groups().items()
            for name, tensor in arrays.tensors().items()
        }
        tensors["tokens_since_fired"] = self.tokens_since_fired
        tensors["counts"] = torch.tensor(
            [self.steps_done, self.tokens_seen, int(self.revived)], dtype=torch.int64
        )
        return tensors

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take over a state returned by `state`; the next step is the one it would have taken."""
        for group, arrays in self._groups().items():
            for name, tensor in arrays.tensors().items():
                tensor.copy_(state[f"{group}.{name}"])
        self.tokens_since_fired.copy_(state["tokens_since_fired"])
        self.steps_done, self.tokens_seen, revived = state["counts"].tolist()
        self.adam.n_steps = self.steps_done
        self.revived.fill_(revived)

    def _groups(self) -> dict[str, Weights]:
        return {"weights": self.weights, "first": self.adam.first, "second": self.adam.second}


def remove_parallel_(grad: torch.Tensor, rows: torch.Tensor) -> None:
    """Remove from grad [latent, d_model] what is parallel to the unit `rows`, in place."""
    for part in _row_blocks(rows):
        overlap = torch.linalg.vecdot(grad[part], rows[part]).unsqueeze(1)
        grad[part].addcmul_(rows[part], overlap, value=-1)


def normalise_rows_(rows: torch.Tensor) -> None:
    """Scale rows [latent, d_model] to unit norm, in place."""
    for part in _row_blocks(rows):
        rows[part].div_(torch.linalg.vector_norm(rows[part], dim=1, keepdim=True))


def _row_blocks(rows: torch.Tensor, elements: int = 2**20) -> Iterator[slice]:
    """Slices over rows, small enough that temporaries stay in cache."""
    step = max(1, elements // rows.shape[1])
    for start in range(0, len(rows), step):
        yield slice(start, start + step)

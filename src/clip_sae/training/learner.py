"""One SAE while it is trained: one optimiser step, its state, its figures.

Steering paper App. 10: Adam, gradient clipping, unit-norm decoder rows with the parallel gradient
removed.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from clip_sae.planning.recipes import SaeRecipe
from clip_sae.training.fast import method_of
from clip_sae.training.losses import Losses, StepInput
from clip_sae.training.optimiser import Adam, lr_factor, pressure
from clip_sae.training.parallel import Replicas
from clip_sae.training.revival import StepError, make_revival
from clip_sae.training.targets import BatchTargets, Target
from clip_sae.training.weights import Weights
from clip_sae.training.workspace import Workspace


class Learner:
    """Weights, Adam and dead-latent counters of one SAE; `step` takes one batch.

    `weights` are owned and changed in place. `tokens_since_fired` [latent] counts tokens; a latent
    is dead when it exceeds `recipe.dead_window_tokens`. `revived` counts dead latents that fired.
    """

    def __init__(
        self,
        recipe: SaeRecipe,
        weights: Weights,
        total_steps: int,
        workspace: Workspace,
        replicas: Replicas = Replicas(),  # noqa: B008 - frozen
    ) -> None:
        d_sae, d_model = weights.W_dec.shape
        self.recipe, self.weights, self.total_steps = recipe, weights, total_steps
        self.replicas = replicas
        self.method = method_of(recipe.own)(recipe.own, d_sae, workspace, replicas)
        for name, value in recipe.own.start().items():
            weights.own[name] = torch.full_like(weights.b_enc, value)
        self.grads = weights.zeros_like()
        self.revival = make_revival(recipe, d_model, workspace)
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
        self._count_fired(losses.sums > 0, dead, target.n_tokens)
        self.steps_done += 1
        self.tokens_seen += target.n_tokens
        if not measure:
            return None
        return {
            "step": self.steps_done,
            "tokens": self.tokens_seen,
            **losses.figures(target),
            "dead_latents": int(self.dead_mask().sum()),
            "revived_latents": int(self.revived),
            "lr": lr,
            "grad_norm": float(grad_norm),
        }

    def backward(self, target: Target, dead: torch.Tensor, *, count_active: bool = True) -> Losses:
        """Set `grads` to the gradients of the whole loss; `dead` [row] are the dead latents."""
        target = target.share(self.replicas.share(target.n_tokens))
        self.grads.zero_()
        z = target.z - self.weights.b_dec
        warmed = pressure(self.recipe, self.steps_done)
        losses = self.method.backward(
            StepInput(target, z, self.weights, self.grads, warmed, count_active)
        )
        losses.squared = (losses.error * target.raw_scale).square().sum()
        if self.revival and len(dead):
            step = StepError(z, losses.error, losses.reconstruction, target.n_tokens)
            losses.aux = self.revival.add(step, self.weights, self.grads, dead)
        # z = normed x - b_dec: the encoder's gradients reach b_dec through its input.
        into_input = self.method.input_gradient(self.weights, self.grads)
        self.grads.b_dec.sub_(into_input @ self.weights.W_enc_rows)
        self._add_up(losses)
        return losses

    def _add_up(self, losses: Losses) -> None:
        """Turn this replica's share of gradients and losses into the whole batch's."""
        for tensor in (*self.grads.tensors().values(), *losses.sums_over_tokens()):
            self.replicas.sum_(tensor)

    def dead_mask(self) -> torch.Tensor:
        """Return which latents [latent] have been silent for the whole window."""
        return self.tokens_since_fired > self.recipe.dead_window_tokens

    def _update(self, lr: float) -> torch.Tensor:
        """Clip, project, Adam, renormalise; return the gradient's norm before clipping."""
        unit_norm = self.method.unit_norm
        norms = [
            torch.linalg.vector_norm(grad)
            for name, grad in self.grads.tensors().items()
            if not (unit_norm and name == "W_dec")
        ]
        if unit_norm:
            norms.append(remove_parallel_(self.grads.W_dec, self.weights.W_dec))
        norm = torch.linalg.vector_norm(torch.stack(norms))
        self.adam.step(self.grads, lr, self._divisor(norm))
        if unit_norm:
            normalise_rows_(self.weights.W_dec)
        self.method.settle(self.weights)
        return norm

    def _divisor(self, norm: torch.Tensor) -> torch.Tensor | None:
        """Return the divisor, at least 1, that limits the gradients' norm to `clip_norm`."""
        if self.recipe.clip_norm is None:
            return None
        return ((norm + 1e-6) / self.recipe.clip_norm).clamp(min=1.0)

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
        tensors |= {f"method.{name}": tensor for name, tensor in self.method.state().items()}
        tensors["tokens_since_fired"] = self.tokens_since_fired
        tensors["counts"] = torch.tensor(
            [self.steps_done, self.tokens_seen, int(self.revived)], dtype=torch.int64
        )
        return tensors

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from a state returned by `state`, to the same bits."""
        for group, arrays in self._groups().items():
            for name, tensor in arrays.tensors().items():
                tensor.copy_(state[f"{group}.{name}"])
        for name, tensor in self.method.state().items():
            tensor.copy_(state[f"method.{name}"])
        self.tokens_since_fired.copy_(state["tokens_since_fired"])
        self.steps_done, self.tokens_seen, revived = state["counts"].tolist()
        self.adam.n_steps = self.steps_done
        self.revived.fill_(revived)

    def _groups(self) -> dict[str, Weights]:
        return {"weights": self.weights, "first": self.adam.first, "second": self.adam.second}


def remove_parallel_(grad: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Remove from grad [latent, d_model] its part parallel to the unit `rows`, in place.

    Return the norm of the whole gradient before, from the same reading of it.
    """
    norms = []
    for part in _row_chunks(rows):
        norms.append(torch.linalg.vector_norm(grad[part]))
        overlap = torch.linalg.vecdot(grad[part], rows[part]).unsqueeze(1)
        grad[part].addcmul_(rows[part], overlap, value=-1)
    return torch.linalg.vector_norm(torch.stack(norms))


def normalise_rows_(rows: torch.Tensor) -> None:
    """Scale rows [latent, d_model] to unit norm, in place."""
    for part in _row_chunks(rows):
        rows[part].div_(torch.linalg.vector_norm(rows[part], dim=1, keepdim=True))


def _row_chunks(rows: torch.Tensor) -> Iterator[slice]:
    """Yield slices over rows that stay in a core's cache; one slice for an accelerator."""
    step = max(1, 2**20 // rows.shape[1]) if rows.device.type == "cpu" else len(rows)
    for start in range(0, len(rows), step):
        yield slice(start, start + step)

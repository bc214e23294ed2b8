"""Our training step, and the operations that bound it, each as a worker of training.py."""

import platform

import torch
from peers.protocol import LEVELS, Task, Trainer, serve

from clip_sae.planning.recipe_values import keys_of
from clip_sae.planning.recipes import SaeRecipe, architectures
from clip_sae.training.learner import Learner
from clip_sae.training.targets import BatchTargets
from clip_sae.training.weights import initial_weights
from clip_sae.training.workspace import Workspace

ADAM_ARRAYS = 7  # Adam reads weights, gradients and two moments, and writes all but the gradients


class Ours:
    """Learner.step, as train_saes calls it on the steps that it does not measure."""

    def __init__(self, task: Task) -> None:
        task.imported()
        own = keys_of(architectures()[task.architecture])
        values = {"k": task.k, "l1_coefficient": task.l1, "l0_coefficient": task.l1}
        section = {
            "architecture": task.architecture,
            # Only names the size; the learner takes it from the weights, and the peers' 8,192
            # latents are no whole multiple of d_model 768.
            "expansion_factor": max(1, task.n // task.d_model),
            "input_norm": "none",
            "lr": task.lr,
            "lr_schedule": "constant",
            "warmup_steps": 0,
            **({"prefixes": list(LEVELS)} if task.architecture == "matryoshka" else {}),
            **{key: values[key] for key, found in own.items() if found.required},
        }
        ((_, recipe),) = SaeRecipe.from_config("benchmark", section)
        start = task.start()
        weights = initial_weights(task.d_model, task.n, start.b_dec, recipe.seed)
        weights.W_dec.copy_(start.W_dec)
        weights.W_enc_rows.copy_(start.W_enc_rows)
        weights.b_enc.fill_(start.bias)
        self.learner = Learner(recipe, weights, task.total_steps + 1, Workspace())
        if "b_gate" in weights.own:
            weights.own["b_gate"].fill_(start.bias)

    @torch.no_grad()
    def step(self, x: torch.Tensor) -> None:
        self.learner.step(BatchTargets(x), measure=False)

    @torch.no_grad()
    def evaluate(self, x: torch.Tensor) -> dict[str, float]:
        """Return the figures before one more step, so that the held-out batch is still unseen."""
        figures = self.learner.step(BatchTargets(x), measure=True)
        return {key: figures[key] for key in ("explained_variance", "l0")}


class Product:
    """The encoder's matrix product alone, z W_enc, which every exact top-k needs."""

    def __init__(self, task: Task, dtype: torch.dtype) -> None:
        task.imported()
        self.W, self.dtype = task.start().W_enc_rows.to(dtype), dtype
        self.out = self.W.new_empty(task.batch, task.n)

    def step(self, x: torch.Tensor) -> None:
        # The rounding of the batch is part of the work; it is small next to the product.
        torch.mm(x.to(self.dtype), self.W.T, out=self.out)

    def evaluate(self, x: torch.Tensor) -> dict[str, float]:
        return {}


class AdamBytes:
    """The bytes that Adam must move for all weights in float32, at the speed of adding arrays."""

    def __init__(self, task: Task) -> None:
        task.imported()
        weights = 2 * task.n * task.d_model + task.n + task.d_model
        # An addition in place moves three arrays (two read, one written).
        self.arrays = torch.zeros(2, weights * ADAM_ARRAYS // 3, device=task.device)

    def step(self, x: torch.Tensor) -> None:
        self.arrays[0].add_(self.arrays[1])

    def evaluate(self, x: torch.Tensor) -> dict[str, float]:
        return {}


def make(task: Task) -> Trainer:
    if task.trainer == "ours":
        return Ours(task)
    if task.trainer == "bytes of Adam":
        return AdamBytes(task)
    return Product(task, {"float32": torch.float32, "bfloat16": torch.bfloat16}[
        task.trainer.removeprefix("encoder product ")
    ])  # fmt: skip


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "python": platform.python_version()}


if __name__ == "__main__":
    serve(make, versions)

"""SAEs to train and tokens to train them on, for the training sections."""

from dataclasses import dataclass

import torch
from measuring import Bench

from clip_sae.planning.recipes import SaeRecipe
from clip_sae.training.learner import Learner
from clip_sae.training.weights import initial_weights
from clip_sae.training.workspace import Workspace

# The recipe keys of every variant; `k` is added where the architecture has one.
VARIANTS = {
    "topk": {"architecture": "topk", "aux_k": None},
    "topk+aux": {"architecture": "topk", "aux_k": "auto"},
    "batchtopk": {"architecture": "batchtopk"},
    "matryoshka": {"architecture": "matryoshka"},
    "vanilla": {"architecture": "vanilla", "l1_coefficient": 1.0},
    "vanilla ghost": {"architecture": "vanilla", "l1_coefficient": 2.0, "ghost_grads": True},
    "vanilla free": {"architecture": "vanilla", "l1_coefficient": 0.5, "decoder_norm": "free"},
    "jumprelu": {"architecture": "jumprelu", "l0_coefficient": 1.0},
    "gated": {"architecture": "gated", "l1_coefficient": 1.0},
}
COMMON = {"input_norm": "layer_norm", "lr": 4e-4, "warmup_steps": 0, "lr_schedule": "constant"}
WITH_K = ("topk", "batchtopk", "matryoshka")
TOTAL_STEPS = 10**6  # of the schedule; the sections take a few


@dataclass(frozen=True)
class Sizes:
    """Widths of an SAE, k, and tokens per batch; `n` is a multiple of `d`."""

    d: int
    n: int
    k: int
    batches: tuple[int, ...]


def speed_sizes(bench: Bench) -> Sizes:
    """Return the sizes of the speed sections: the paper's largest SAE of ViT-B/32, or tiny ones."""
    return Sizes(768, 1536, 16, (64,)) if bench.tiny else Sizes(768, 49152, 64, (4096, 16384))


def make_learner(variant: str, d: int, n: int, k: int, device, **more: object) -> Learner:
    """Return a learner with random weights on `device`; `more` are further recipe keys."""
    block = VARIANTS[variant] | COMMON | {"expansion_factor": n // d} | more
    if block["architecture"] in WITH_K:
        block["k"] = k
    ((_, recipe),) = SaeRecipe.from_config("gpu", block)
    b_dec = torch.zeros(d, device=device)
    weights = initial_weights(d, n, b_dec, seed=0, row_norm=recipe.initial_row_norm)
    return Learner(recipe, weights, TOTAL_STEPS, Workspace())


def make_tokens(batch: int, d: int, seed: int = 0) -> torch.Tensor:
    """Return tokens [batch, d] on the CPU: few of 4 d directions each, and noise."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(4 * d, d, generator=generator)
    values = torch.randn(batch, 4 * d, generator=generator)
    codes = values.clamp_min(1.8) - 1.8  # 4 in 100 are positive
    return codes @ directions + 0.3 * torch.randn(batch, d, generator=generator)

"""Steering: pairs of one unit and one image per second, by layer, batch and number of units."""

import torch
from measuring import Bench
from torch.nn import functional as F
from tower_subjects import device_tower, unit_texts

from clip_sae.analyses.steering.routes import Routes
from clip_sae.analyses.steering.unit_measures import Words, measure

STRENGTH, LARGE, SMALL = 150.0, 64, 16  # a push in units of σ(x); units in one call


def run(bench: Bench) -> None:
    """Measure the general route at three layers and the closed form at the last."""
    model = device_tower(bench, "auto")
    sizes = model.architecture
    n_images, n_words = (4, 200) if bench.tiny else (192, 20_000)
    text = unit_texts(n_words, sizes.d_embed)
    x = torch.randn(n_images, sizes.n_tokens, sizes.d_model, device=bench.device)
    directions = F.normalize(torch.randn(LARGE, sizes.d_model, device=bench.device), dim=-1)
    last = sizes.n_layers - 1
    with torch.inference_mode():
        for layer in (0, sizes.n_layers // 2 - 1, last - 1, last):
            batches = (1024,) if layer else (128, 1024, 4096)
            for sequences in batches:
                routes = Routes(model, layer, x, text, 100.0, sequences_per_batch=sequences)
                for n_units in (SMALL,) if bench.tiny else (SMALL, LARGE):
                    steer(bench, routes, directions[:n_units], f"{sequences} sequences")
            read(bench, routes, directions[:SMALL])


def pushes(x: torch.Tensor, n_units: int) -> torch.Tensor:
    """Return how far every token goes [image, token, unit], the same for each unit."""
    return (STRENGTH * x.std(-1, keepdim=True)).expand(*x.shape[:2], n_units)


def steer(bench: Bench, routes: Routes, directions: torch.Tensor, label: str) -> None:
    """Measure one call of `Routes.steer`, in thousands of pairs per second."""
    n_units, n_images = len(directions), len(routes.x)
    push = pushes(routes.x, n_units)
    took = bench.milliseconds(lambda: routes.steer(directions, push), 3, 1)
    name = f"layer {routes.layer}, {label}, {n_units} units"
    bench.report.row("steering", name, kpairs_per_s=n_units * n_images / took)


def read(bench: Bench, routes: Routes, directions: torch.Tensor) -> None:
    """Time the analysis of the probabilities of steered images."""
    n_pairs = len(directions) * len(routes.x)
    words = Words.of(routes.text)
    steered = routes.steer(directions, pushes(routes.x, len(directions)))
    took = bench.milliseconds(lambda: measure(steered.probabilities, routes.clean, words), 3, 1)
    bench.report.row("steering", f"layer {routes.layer} measures", kpairs_per_s=n_pairs / took)

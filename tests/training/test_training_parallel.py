"""Two processes that share every batch train the SAE that one process trains."""

import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing
from array_stream import ArrayStream
from safetensors.torch import load_file, save_file
from test_training_gradients import (
    DEAD,
    RECIPES,
    hand_gradients,
    make_recipe,
    random_tokens,
    random_weights,
)
from test_training_passes import COMMON, MIXED, targets

from clip_sae.training import TrainingError, is_finished, train_saes
from clip_sae.training.parallel import Replicas

# Ghost gradients need the whole batch's error and are refused in several processes.
SHARED = [name for name, section in RECIPES.items() if not make_recipe(section).ghost_grads]
GHOSTS = {"architecture": "vanilla", "l1_coefficient": 0.3, "ghost_grads": True}
D_MODEL, PROCESSES = 8, 2
QUIET = {"d_model": D_MODEL, "device": "cpu", "threads": 1, "progress": False}


def tokens() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(321, D_MODEL)).astype("f4") * 2 + 1


def figures(name: str, replicas: Replicas) -> dict[str, torch.Tensor]:
    """Gradients and losses of one step in float64 as seen by one process."""
    recipe = make_recipe(RECIPES[name])
    losses, grads = hand_gradients(
        recipe, random_weights(), random_tokens(), DEAD, replicas=replicas
    )
    sums = ("reconstruction", "sparsity", "aux", "squared", "n_active", "sums")
    return grads | {f"losses.{key}": torch.as_tensor(getattr(losses, key)) for key in sums}


def work(rank: int, folder: str) -> None:
    """Run one process: a step of every recipe, then a whole training."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=PROCESSES,
        timeout=datetime.timedelta(seconds=60),
    )
    replicas = Replicas.current()
    assert replicas == Replicas(rank, PROCESSES)
    found = {f"{n}/{key}": t for n in SHARED for key, t in figures(n, replicas).items()}
    save_file(found, Path(folder) / f"rank{rank}.safetensors")
    train_saes(
        targets(Path(folder) / "saes", MIXED),
        ArrayStream(tokens(), 64),
        checkpoint_every_steps=4,
        log=lambda text: print(text) if rank == 0 else None,
        **QUIET,
    )
    try:
        train_saes(
            targets(Path(folder) / "ghosts", {**GHOSTS, **COMMON}),
            ArrayStream(tokens(), 64),
            **QUIET,
        )
    except TrainingError as error:
        (Path(folder) / f"refused{rank}").write_text(str(error))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=PROCESSES)
    return folder


@pytest.mark.parametrize("name", SHARED)
def test_gradients_and_losses_are_those_of_one_process(name, shared):
    expected = figures(name, Replicas())
    for rank in range(PROCESSES):
        found = load_file(shared / f"rank{rank}.safetensors")
        for key, tensor in expected.items():
            torch.testing.assert_close(
                found[f"{name}/{key}"], tensor, rtol=1e-9, atol=1e-12, msg=f"{rank} {key}"
            )


def test_a_whole_training_ends_within_rounding_of_one_process(shared, tmp_path):
    """float32 sums in another order, 12 steps; the first process alone writes."""
    alone = targets(tmp_path, MIXED)
    train_saes(alone, ArrayStream(tokens(), 64), log=lambda _: None, **QUIET)
    together = targets(shared / "saes", MIXED)
    for one, two in zip(alone, together, strict=True):
        assert is_finished(two, D_MODEL)
        a, b = (load_file(t.folder / "sae_weights.safetensors") for t in (one, two))
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5, msg=lambda m, v=one.variant: v + m)
        curves = [(t.folder / "curve.csv").read_text().splitlines() for t in (one, two)]
        assert len(curves[0]) == len(curves[1]) == 13


def test_ghost_gradients_are_refused(shared):
    for rank in range(PROCESSES):
        text = (shared / f"refused{rank}").read_text()
        assert "cannot be trained in 2 processes" in text and "ghost_grads: false" in text


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_cover_a_batch_once(size):
    for n_tokens in (0, 1, 5, 64, 4095):
        shares = [Replicas(rank, size).share(n_tokens) for rank in range(size)]
        taken = [i for share in shares for i in range(n_tokens)[share]]
        assert taken == list(range(n_tokens))
        lengths = [share.stop - share.start for share in shares]
        assert max(lengths) - min(lengths) <= 1

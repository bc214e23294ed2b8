"""Trainings whose outcome is known: a planted dictionary, revived latents, golden numbers."""

import csv

import numpy as np
import pytest

from clip_sae.recipes import SaeRecipe
from clip_sae.sae import Sae
from clip_sae.training import TRAIN_VERSION, TrainTarget, train_saes


def train(block, stream, folder, d_model) -> tuple[Sae, list[dict]]:
    [(name, recipe)] = SaeRecipe.from_config("demo", block)
    target = TrainTarget(name, recipe, folder, {})
    train_saes([target], stream, d_model=d_model, device="cpu", progress=False, log=lambda _: None)
    with open(folder / "curve.csv") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    return Sae.load(folder), rows


RECOVERY = {
    "expansion_factor": 2,
    "batch_tokens": 256,
    "epochs": 25,
    "lr": 1e-2,
    "warmup_steps": 20,
    "input_norm": "none",
    "dead_window_tokens": 5000,
}


@pytest.mark.parametrize(
    "block",
    [
        {"architecture": "topk", "k": 2},
        {"architecture": "vanilla", "l1_coefficient": 0.8, "ghost_grads": True},
        {"architecture": "vanilla", "form": "prisma_compat", "l1_coefficient": 0.015, "lr": 0.02},
    ],
    ids=["topk", "vanilla", "vanilla_prisma"],
)
def test_a_planted_dictionary_is_found(block, planted, array_stream, tmp_path):
    """Mean over planted directions of the largest cosine to a decoder row; chance is 0.6."""
    x, directions = planted()
    sae, rows = train({**RECOVERY, **block}, array_stream(x, 256), tmp_path, x.shape[1])
    cosines = directions @ sae.W_dec.numpy().T
    assert cosines.max(axis=1).mean() > 0.95
    assert rows[-1]["explained_variance"] > 0.9


@pytest.mark.parametrize(
    "block",
    [
        {"architecture": "topk", "k": 2},
        {"architecture": "topk", "k": 2, "form": "prisma_compat"},
        {"architecture": "vanilla", "l1_coefficient": 4.0, "ghost_grads": True},
    ],
    ids=["aux_k", "ghost_topk", "ghost_vanilla"],
)
def test_dead_latents_come_back(block, planted, array_stream, tmp_path):
    x, _ = planted()
    block = {**RECOVERY, **block, "epochs": 8, "dead_window_tokens": 600, "expansion_factor": 8}
    _, rows = train(block, array_stream(x, 256), tmp_path, x.shape[1])
    assert max(row["dead_latents"] for row in rows) > 0
    assert any(row["aux_loss"] > 0 for row in rows)
    assert rows[-1]["revived_latents"] > 0


# Measured by this test; the first step is exact arithmetic, the last one 40 steps later.
GOLDEN = {
    "vanilla": {
        "first_loss": 323.209,
        "first_grad_norm": 126.698,
        "loss": 25.6937,
        "l0": 16.6648,
        "explained_variance": 0.358449,
        "W_dec": 326.084,
    },
    "vanilla_prisma": {
        "first_loss": 5.27242,
        "first_grad_norm": 2.05083,
        "loss": 0.616481,
        "l0": 15.9375,
        "explained_variance": 0.417341,
        "W_dec": 325.314,
    },
    "topk": {
        "first_loss": 7.77688,
        "first_grad_norm": 2.18528,
        "loss": 3.94045,
        "l0": 2.0,
        "explained_variance": 0.757133,
        "W_dec": 323.849,
    },
    "topk_prisma": {
        "first_loss": 0.127562,
        "first_grad_norm": 0.0381737,
        "loss": 0.140415,
        "l0": 2.0,
        "explained_variance": 0.729607,
        "W_dec": 326.881,
    },
}


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_are_those_of_this_train_version(name, planted, array_stream, tmp_path):
    """If this fails on purpose, raise TRAIN_VERSION in clip_sae/versions.py and renew GOLDEN."""
    assert TRAIN_VERSION == 2
    architecture, _, form = name.partition("_")
    block = {
        **RECOVERY,
        "architecture": architecture,
        "form": "prisma_compat" if form else "standard",
        "expansion_factor": 6,
        "input_norm": "layer_norm",
        "epochs": 8,
        "warmup_steps": 5,
        "dead_window_tokens": 256,
    }
    if architecture == "topk":
        block["k"] = 2
    else:
        block |= {"l1_coefficient": 0.1 if form else 6.0, "ghost_grads": True}
    x, _ = planted(n_tokens=1200, seed=5)
    sae, rows = train(block, array_stream(x, 256), tmp_path, x.shape[1])
    first, last = rows[0], rows[-1]
    found = {
        "first_loss": first["loss"],
        "first_grad_norm": first["grad_norm"],
        "loss": last["loss"],
        "l0": last["l0"],
        "explained_variance": last["explained_variance"],
        "W_dec": float(np.abs(sae.W_dec.numpy()).sum()),
    }
    tolerance = {key: 1e-4 if key.startswith("first") else 1e-2 for key in found}
    for key, value in found.items():
        assert value == pytest.approx(GOLDEN[name][key], rel=tolerance[key]), found

"""A new SAE architecture is one file: declared here, trained by autograd, saved and read back."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from clip_sae.architectures import (
    Code,
    SaeArchitecture,
    architectures,
    base,
    pre_activations,
    register,
)
from clip_sae.planning.recipe_values import POSITIVE, RecipeError, key
from clip_sae.planning.recipes import SaeRecipe, key_table
from clip_sae.sae import Sae
from clip_sae.training import TrainingError, TrainTarget, is_finished, passes, train_saes
from clip_sae.training.parallel import Replicas

SECTION = {
    "architecture": "log_sparse",
    "expansion_factor": 2,
    "sharpness": [1, 2.0],
    "batch_tokens": 256,
    "epochs": 20,
    "lr": 1e-2,
    "warmup_steps": 20,
    "input_norm": "none",
    "dead_window_tokens": 5000,
}


@pytest.fixture(autouse=True)
def log_sparse(monkeypatch):
    """ReLU latents that pay λ log(1 + sharpness f), with an array of their own.

    This is all that an architecture needs.
    """
    monkeypatch.setattr(base, "_KNOWN", architectures())

    @register("log_sparse")
    @dataclass(frozen=True, kw_only=True)
    class LogSparse(SaeArchitecture):
        sharpness: float = key(POSITIVE, "slope of the logarithm at zero", example=1.0)
        weight: float = key(POSITIVE, "weight of the logarithms", default=1.0)

        trained_as = "log_sparse"

        def encode(self, z, w):
            latents = (pre_activations(z, w) - w.own["offset"]).relu()
            cost = (self.sharpness * latents).log1p()
            return Code(latents, self.weight * cost.sum(dim=1).mean())

        def start(self):
            return {"offset": 0.1}

        def folded(self, arrays, own):
            arrays.b_enc.sub_(own["offset"])
            return arrays

    return LogSparse


def targets(folder) -> list[TrainTarget]:
    recipes = SaeRecipe.from_config("demo", SECTION)
    assert [name for name, _ in recipes] == ["sharpness-1", "sharpness-2"]
    return [TrainTarget(name, recipe, folder / name) for name, recipe in recipes]


def test_it_is_trained_saved_and_read_back(planted, array_stream, tmp_path):
    x, directions = planted()
    options = {"d_model": x.shape[1], "device": "cpu", "progress": False, "log": lambda _: None}
    trained = targets(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        stream = array_stream(x, 256, fail_at=100)
        train_saes(trained, stream, checkpoint_every_steps=30, **options)
    train_saes(trained, array_stream(x, 256), **options)
    straight = targets(tmp_path / "straight")
    train_saes(straight, array_stream(x, 256), **options)
    for target, same in zip(trained, straight, strict=True):
        assert is_finished(target, x.shape[1])
        sae, other = Sae.load(target.folder), Sae.load(same.folder)
        torch.testing.assert_close(sae.state_dict(), other.state_dict(), rtol=0, atol=0)
        assert sae.training_architecture == "log_sparse" and sae.architecture == "vanilla"
        cosines = (directions @ sae.W_dec.numpy().T).max(axis=1)
        assert cosines.mean() > 0.9
        active = (sae(torch.from_numpy(x)).latents > 0).sum(dim=1).float().mean()
        assert 1 < active < 6  # two latents are planted in each token
        np.testing.assert_allclose(sae.W_dec.norm(dim=1), 1, rtol=1e-5)


def test_its_keys_are_checked_and_documented():
    with pytest.raises(RecipeError, match=r"sharpness is -1 \(int\); expected a number > 0"):
        SaeRecipe.from_config("demo", {**SECTION, "sharpness": -1})
    with pytest.raises(RecipeError, match="needs sharpness: slope of the logarithm at zero"):
        SaeRecipe.from_config("demo", {"architecture": "log_sparse", "expansion_factor": 2})
    with pytest.raises(RecipeError, match="remove sharpness from this topk SAE"):
        SaeRecipe.from_config("demo", {**SECTION, "architecture": "topk", "k": 2, "sharpness": 3})
    row = "| log_sparse | `sharpness` | a number > 0 | required | slope of the logarithm at zero |"
    assert row in key_table()
    [(_, recipe), *_] = SaeRecipe.from_config("demo", SECTION)
    assert recipe.sparsity_knob == "sharpness" and recipe.k is None
    assert SaeRecipe.from_dict(recipe.to_dict()) == recipe


def test_it_is_refused_in_several_processes(array_stream, tmp_path):
    stream = array_stream(np.zeros((8, 4), np.float32), 4)
    with pytest.raises(TrainingError, match="log_sparse: an architecture without a fast pass"):
        passes._check_one_pass(targets(tmp_path), stream, Replicas(0, 2))

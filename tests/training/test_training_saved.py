"""A trained SAE read back from its folder encodes as the formula that it was trained with."""

import json

import numpy as np
import pytest
import torch

from clip_sae.planning.recipes import SaeRecipe
from clip_sae.sae import Sae
from clip_sae.training.learner import Learner
from clip_sae.training.method import DECAY, RunningThreshold
from clip_sae.training.targets import BatchTargets
from clip_sae.training.weights import initial_weights
from clip_sae.training.workspace import Workspace

D_MODEL, STEPS = 16, 60
VANILLA = {"architecture": "vanilla", "l1_coefficient": 0.3}
SECTIONS = {
    "vanilla": VANILLA,
    "vanilla_free_norm": {**VANILLA, "decoder_norm": "free"},
    "topk": {"architecture": "topk", "k": 3},
    "batchtopk": {"architecture": "batchtopk", "k": 3},
    "matryoshka": {"architecture": "matryoshka", "k": 3},
    "jumprelu": {"architecture": "jumprelu", "l0_coefficient": 0.3, "bandwidth": 1.0},
    "gated": {"architecture": "gated", "l1_coefficient": 1.0},
}
SAELENS_WORDS = {
    "vanilla": "standard",
    "vanilla_free_norm": "standard",
    "matryoshka": "matryoshka_batchtopk",
}


@pytest.fixture(params=["none", "layer_norm"])
def trained(request, planted):
    """Return a function that trains a section and gives (learner, held-out tokens)."""
    x, _ = planted(n_tokens=4000)
    x = torch.from_numpy(x)

    def train(name, steps=STEPS):
        section = {"expansion_factor": 3, "lr": 1e-2, "warmup_steps": 5, **SECTIONS[name]}
        section["input_norm"] = request.param
        [(_, recipe)] = SaeRecipe.from_config("demo", section)
        start = initial_weights(
            D_MODEL,
            recipe.d_sae(D_MODEL),
            torch.zeros(D_MODEL),
            seed=0,
            row_norm=recipe.initial_row_norm,
        )
        learner = Learner(recipe, start, steps, Workspace())
        with torch.no_grad():
            for step in range(steps):
                draw = torch.Generator().manual_seed(step)
                batch = x[torch.randint(3000, (256,), generator=draw)]
                learner.step(BatchTargets(batch), measure=False)
        return learner, x[3000:]

    return train


def saved(learner, folder) -> Sae:
    learner.method.to_sae(learner.weights, learner.recipe.input_norm).save(folder, {})
    return Sae.load(folder)


def formula(learner, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(f, x_hat) of each architecture's own paper from the arrays that were trained, float64."""
    recipe = learner.recipe
    w = {name: tensor.double().numpy() for name, tensor in learner.weights.tensors().items()}
    x = x.double().numpy()
    mean, std = np.zeros((len(x), 1)), np.ones((len(x), 1))
    z = x
    if recipe.input_norm == "layer_norm":
        mean, std = x.mean(1, keepdims=True), x.std(1, ddof=1, keepdims=True)
        z = (x - mean) / (std + 1e-5)
    hidden = (z - w["b_dec"]) @ w["W_enc_rows"].T
    pre = hidden + w["b_enc"]
    match recipe.architecture:
        case "vanilla":
            f = np.maximum(pre, 0)
        case "topk":
            kth = np.sort(pre, axis=1)[:, -recipe.k, None]
            f = np.maximum(pre, 0) * (pre >= kth)
        case "batchtopk" | "matryoshka":
            f = pre * (pre > learner.method.threshold.value)
        case "jumprelu":
            f = pre * (pre > w["threshold"])
        case "gated":
            f = (hidden + w["b_gate"] > 0) * np.maximum(np.exp(w["r_mag"]) * hidden + w["b_enc"], 0)
    return f, (f @ w["W_dec"] + w["b_dec"]) * std + mean


@pytest.mark.parametrize("name", SECTIONS)
def test_the_folder_encodes_as_it_was_trained(name, trained, tmp_path):
    learner, x = trained(name)
    sae = saved(learner, tmp_path)
    f, x_hat = formula(learner, x)
    if name == "vanilla_free_norm":  # a latent is folded with its row's norm
        norms = learner.weights.W_dec.double().norm(dim=1).numpy()
        assert np.ptp(norms) > 0.1
        f = f * norms
    out = sae(x)
    # A score at its threshold to within rounding may fall on either side.
    same = (out.latents.numpy() > 0) == (f > 0)
    assert same.mean() > 0.9999 and f.any()
    rows = same.all(axis=1)
    np.testing.assert_allclose(out.latents.numpy()[rows], f[rows], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(out.x_hat.numpy()[rows], x_hat[rows], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(sae.d_sae))
    word = json.loads((tmp_path / "cfg.json").read_text())["metadata"]["training_architecture"]
    assert word == SAELENS_WORDS.get(name, name)


@pytest.mark.parametrize("name", ["batchtopk", "matryoshka"])
def test_the_running_threshold_keeps_k_on_tokens_never_seen(name, trained, tmp_path):
    learner, x = trained(name, steps=300)
    sae = saved(learner, tmp_path)
    assert sae.threshold.unique().numel() == 1 and sae.threshold[0] > 0
    f = sae(x).latents
    l0 = float((f > 0).sum(dim=1).float().mean())
    assert l0 == pytest.approx(SECTIONS[name]["k"], rel=0.1)
    assert (f > 0).sum(dim=1).unique().numel() > 1  # as many as a token needs, not k each


def test_the_running_threshold_is_a_mean_from_its_first_value_on():
    """Weights DECAY^age, divided by their sum; a batch that keeps nothing changes nothing."""
    threshold = RunningThreshold()
    assert threshold.value == 0
    threshold.update(None)
    assert threshold.value == 0
    values = [3.0, 1.0, 2.5, 7.0]
    for count in range(1, 5):
        threshold.update(torch.tensor(values[count - 1]))
        threshold.update(None)
        ages = DECAY ** np.arange(count)[::-1]
        assert threshold.value == pytest.approx(np.average(values[:count], weights=ages))


def test_gates_and_thresholds_have_moved(trained):
    """Otherwise the tests above would compare vanilla SAEs."""
    gated, _ = trained("gated")
    assert gated.weights.own["b_gate"].abs().min() > 0 and gated.weights.own["r_mag"].std() > 0.01
    jumprelu, _ = trained("jumprelu")
    moved = jumprelu.weights.own["threshold"] - jumprelu.recipe.initial_threshold
    assert moved.abs().min() > 0.1 and moved.std() > 1e-3

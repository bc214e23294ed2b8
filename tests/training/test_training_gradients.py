"""Fast passes and the pass by autograd against dense formulas, in float64."""

import pytest
import torch

from clip_sae.architectures import architectures, pre_activations
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.training import codes, entries, learner, workspace
from clip_sae.training.fast import FAST
from clip_sae.training.learner import Learner
from clip_sae.training.method import Method
from clip_sae.training.parallel import Replicas
from clip_sae.training.targets import BatchTargets
from clip_sae.training.weights import Weights
from clip_sae.training.workspace import Workspace

ALONE = Replicas()
D_MODEL, D_SAE, N_TOKENS = 6, 18, 23
DEAD = torch.tensor([1, 4, 5, 11, 16])
VANILLA = {"architecture": "vanilla", "l1_coefficient": 0.3}
TOPK = {"architecture": "topk", "k": 4}
JUMPRELU = {"architecture": "jumprelu", "l0_coefficient": 0.2, "bandwidth": 0.9}
RECIPES = {
    "vanilla": VANILLA,
    "vanilla_ghost": {**VANILLA, "ghost_grads": True},
    "vanilla_prisma": {**VANILLA, "form": "prisma_compat"},
    "vanilla_patchsae": {**VANILLA, "form": "patchsae"},
    "vanilla_without_l1": {**VANILLA, "l1_coefficient": 0.0},
    "topk": TOPK,
    "topk_few_dead": {**TOPK, "aux_k": 9},
    "topk_many_dead": {**TOPK, "aux_k": 2, "aux_k_coefficient": 0.5},
    "topk_prisma": {**TOPK, "form": "prisma_compat"},
    "vanilla_free_norm": {**VANILLA, "decoder_norm": "free"},
    "vanilla_free_norm_ghost": {**VANILLA, "decoder_norm": "free", "ghost_grads": True},
    "batchtopk": {**TOPK, "architecture": "batchtopk"},
    "matryoshka": {**TOPK, "architecture": "matryoshka", "prefixes": [0.2, 0.5, 1.0]},
    "jumprelu": JUMPRELU,
    "jumprelu_target": {**JUMPRELU, "target_l0": 3.0},
    "jumprelu_aux_k": {**JUMPRELU, "aux_k": 2},
    "gated": {"architecture": "gated", "l1_coefficient": 0.3},
}


def make_recipe(section, input_norm="layer_norm") -> SaeRecipe:
    section = {"expansion_factor": 3, "input_norm": input_norm, **section}
    return SaeRecipe.from_config("demo", section)[0][1]


def random_weights(seed=0) -> Weights:
    draw = torch.Generator().manual_seed(seed)
    W_dec = torch.randn(D_SAE, D_MODEL, generator=draw, dtype=torch.float64)
    W_dec /= W_dec.norm(dim=1, keepdim=True)
    return Weights(
        W_dec + 0.1 * torch.randn(W_dec.shape, generator=draw, dtype=torch.float64),
        0.1 * torch.randn(D_SAE, generator=draw, dtype=torch.float64),
        W_dec,
        0.1 * torch.randn(D_MODEL, generator=draw, dtype=torch.float64),
    )


def random_tokens(seed=1):
    draw = torch.Generator().manual_seed(seed)
    return 1.5 + 3 * torch.randn(N_TOKENS, D_MODEL, generator=draw, dtype=torch.float64)


def hand_gradients(recipe, weights, x, dead, *, steps_done=0, replicas=ALONE):
    """Losses and gradients of one step.

    `weights` are changed before it: the arrays of an architecture's own, and free rows' norms.
    """
    one = Learner(recipe, weights, 10, Workspace(), replicas)
    one.steps_done = steps_done
    spread = torch.linspace(-0.4, 0.4, D_SAE, dtype=weights.b_dec.dtype)
    for name, own in weights.own.items():
        own += spread.abs() if name == "threshold" else spread
    if recipe.decoder_norm == "free":
        weights.W_dec *= 1.3 + spread.unsqueeze(1)
    with torch.no_grad():
        losses = one.backward(BatchTargets(x).get(recipe.input_norm, recipe.form), dead)
    return losses, one.grads.tensors()


def autograd_losses(recipe: SaeRecipe, w: Weights, x, dead):
    """Return (reconstruction, sparsity, revival) of the architecture's formula."""
    mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    z = (x - mean) / (std + 1e-5)
    if recipe.input_norm == "none":
        mean, std, z = torch.zeros_like(mean), torch.ones_like(std), x
    latents, sparsity, frozen = recipe.own.encode(z - w.b_dec, w)
    z_hat = latents @ w.W_dec + w.b_dec
    if recipe.form == "standard":
        error = z - z_hat
        nested = recipe.own.nested(D_SAE)
        parts = [latents[:, :m] @ w.W_dec[:m] + w.b_dec for m in nested]
        loss = sum((z - part).square().sum(1).mean() for part in parts) / len(nested)
    else:
        error = x - (z_hat * std + mean)
        divisor = x if recipe.form == "patchsae" else x - x.mean(0)
        loss = (error.square() / divisor.norm(dim=1, keepdim=True)).mean()
    if frozen is not None:
        z_gate = frozen @ w.W_dec.detach() + w.b_dec.detach()
        sparsity = sparsity + (z - z_gate).square().sum(1).mean()
    pre = pre_activations(z - w.b_dec, w)
    aux = auxiliary(recipe, w, pre, error.detach(), loss.detach(), dead)
    return loss, torch.as_tensor(sparsity, dtype=torch.float64), aux


def auxiliary(recipe, w, pre, error, loss, dead):
    dead_pre, dead_rows = pre[:, dead], w.W_dec[dead]
    k_aux = recipe.aux_latents(D_MODEL)
    if k_aux:
        kth = dead_pre.topk(min(k_aux, len(dead)), dim=1).values[:, -1:]
        miss = (dead_pre.relu() * (dead_pre >= kth)) @ dead_rows - error
        return recipe.aux_k_coefficient * miss.square().sum(1).mean()
    if not recipe.ghost_grads:
        return torch.zeros((), dtype=torch.float64)
    ghost = dead_pre.exp() @ dead_rows
    factor = error.norm(dim=1, keepdim=True) / (1e-6 + 2 * ghost.norm(dim=1, keepdim=True))
    squares = (ghost * factor.detach() - error).square()
    if recipe.form == "standard":
        mean_square = squares.sum(1).mean()
        return mean_square * (loss / mean_square).detach()
    squares = squares / (error - error.mean(0)).norm(dim=1, keepdim=True)
    return ((loss / (squares + 1e-6)).detach() * squares).mean()


@pytest.fixture(params=["dense", "sparse", "sparse_without_mkl", "autograd"])
def route(request, monkeypatch):
    """Dense or sparse products of a fast pass, in several chunks; or the pass by autograd."""
    monkeypatch.setattr(workspace, "CHUNK_TOKENS", 7)
    monkeypatch.setattr(entries, "SPARSE_BELOW", 0.0 if request.param == "dense" else 2.0)
    if request.param == "sparse_without_mkl":
        monkeypatch.setattr(codes.torch.backends.mkl, "is_available", lambda: False)
    if request.param == "autograd":
        monkeypatch.setattr(learner, "method_of", lambda own: Method)
    return request.param


@pytest.mark.parametrize("input_norm", ["layer_norm", "none"])
@pytest.mark.parametrize("name", RECIPES)
def test_gradients_equal_autograd(name, input_norm, route):
    recipe = make_recipe(RECIPES[name], input_norm)
    weights, x = random_weights(), random_tokens()
    losses, found = hand_gradients(recipe, weights, x, DEAD)
    leaves = {key: t.detach().clone().requires_grad_() for key, t in weights.tensors().items()}
    loss, sparsity, aux = autograd_losses(recipe, Weights.of(leaves), x, DEAD)
    (loss + sparsity + aux).backward()
    for key, tensor in leaves.items():
        torch.testing.assert_close(found[key], tensor.grad, rtol=1e-9, atol=1e-11, msg=key)
    target = BatchTargets(x).get(recipe.input_norm, recipe.form)
    figures = losses.figures(target)
    assert figures["reconstruction_loss"] == pytest.approx(loss.item(), rel=1e-12)
    assert figures["sparsity_loss"] == pytest.approx(sparsity.item(), rel=1e-12)
    assert figures["aux_loss"] == pytest.approx(aux.item(), rel=1e-12)


@pytest.mark.parametrize("name", ["vanilla_free_norm", "topk", *sorted(FAST.keys() - {"topk"})])
def test_a_training_by_autograd_ends_where_the_fast_pass_does(name, monkeypatch):
    recipe = make_recipe(RECIPES[name])
    found = []
    for method in (FAST[recipe.architecture], Method):
        monkeypatch.setattr(learner, "method_of", lambda own, method=method: method)
        one = Learner(recipe, random_weights(), 12, Workspace())
        with torch.no_grad():
            for seed in range(12):
                figures = one.step(BatchTargets(random_tokens(seed)), measure=True)
        assert figures.keys() >= {"loss", "l0"}
        found.append((one.state(), figures, one.method.to_sae(one.weights, "none").state_dict()))
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-9)


def test_every_array_of_every_architecture_has_a_gradient():
    """The comparison above covers all architectures, and no gradient that is always zero."""
    for name, section in RECIPES.items():
        weights = random_weights()
        _, found = hand_gradients(make_recipe(section), weights, random_tokens(), DEAD)
        assert set(found) == set(weights.tensors())
        assert all(gradient.abs().sum() > 0 for gradient in found.values()), name
    names = {section["architecture"] for section in RECIPES.values()}
    assert names == set(architectures()) == set(FAST)


@pytest.mark.parametrize("name", ["vanilla", "vanilla_free_norm", "jumprelu_target", "gated"])
def test_sparsity_warms_up_in_loss_and_gradient(name):
    """At step 2 of 8 the sparsity term counts for 3/8, and the reconstruction as ever."""
    recipe = make_recipe({**RECIPES[name], "sparsity_warmup_steps": 8})
    coefficient = "l0_coefficient" if "jumprelu" in name else "l1_coefficient"
    weak = make_recipe({**RECIPES[name], coefficient: RECIPES[name][coefficient] * 3 / 8})
    x = random_tokens()
    losses, warm = hand_gradients(recipe, random_weights(), x, DEAD, steps_done=2)
    expected, grads = hand_gradients(weak, random_weights(), x, DEAD)
    torch.testing.assert_close(warm, grads, rtol=1e-12, atol=1e-14)
    assert float(losses.sparsity) == pytest.approx(float(expected.sparsity), rel=1e-12)
    full, _ = hand_gradients(recipe, random_weights(), x, DEAD, steps_done=8)
    unwarmed, _ = hand_gradients(make_recipe(RECIPES[name]), random_weights(), x, DEAD)
    assert float(full.sparsity) == float(unwarmed.sparsity) != float(losses.sparsity)


def test_sparsity_warm_up_is_nothing_to_a_choice_of_the_largest():
    for name in ("topk", "batchtopk", "matryoshka"):
        with pytest.raises(ValueError, match="remove sparsity_warmup_steps"):
            make_recipe({**RECIPES[name], "sparsity_warmup_steps": 8})


@pytest.mark.parametrize("name", ["vanilla_ghost", "vanilla_prisma", "topk", "topk_prisma"])
def test_a_step_without_dead_latents_has_no_auxiliary_loss(name):
    losses, _ = hand_gradients(
        make_recipe(RECIPES[name]), random_weights(), random_tokens(), DEAD[:0]
    )
    assert float(losses.aux) == 0


@pytest.mark.parametrize(
    "name",
    [
        "vanilla_ghost",
        "vanilla_prisma",
        "vanilla_free_norm_ghost",
        "topk",
        "topk_prisma",
        "batchtopk",
        "matryoshka",
        "jumprelu_aux_k",
    ],
)
def test_auxiliary_losses_move_the_dead_rows_and_no_others(name):
    section = RECIPES[name]
    if section["architecture"] in ("topk", "batchtopk", "matryoshka") and "form" not in section:
        section = {**section, "aux_k": 9}
    recipe = make_recipe(section)
    x = random_tokens()
    _, with_aux = hand_gradients(recipe, random_weights(), x, DEAD)
    _, without = hand_gradients(recipe, random_weights(), x, DEAD[:0])
    for key in ("W_enc_rows", "b_enc", "W_dec"):
        change = (with_aux[key] - without[key]).view(D_SAE, -1).abs().sum(dim=1)
        moved = torch.nonzero(change > 0).view(-1)
        assert moved.tolist() == DEAD.tolist(), key
    for key in {"threshold", "b_gate", "r_mag"} & set(without):
        assert torch.equal(with_aux[key], without[key]), key


def test_aux_k_takes_the_strongest_dead_latents_only():
    recipe = make_recipe({**TOPK, "aux_k": 1})
    weights, x = random_weights(), random_tokens()
    weights.b_enc[DEAD[2]] += 50
    _, with_aux = hand_gradients(recipe, weights, x, DEAD)
    _, without = hand_gradients(recipe, weights, x, DEAD[:0])
    change = (with_aux["W_dec"] - without["W_dec"]).abs().sum(dim=1)
    assert torch.nonzero(change > 0).view(-1).tolist() == [int(DEAD[2])]


def test_ghost_grads_survive_a_latent_about_to_fire():
    recipe = make_recipe(RECIPES["vanilla_ghost"])
    weights = random_weights()
    weights.b_enc[DEAD] = 500.0
    losses, grads = hand_gradients(recipe, weights, random_tokens(), DEAD)
    assert torch.isfinite(losses.aux) and all(g.isfinite().all() for g in grads.values())


@pytest.mark.parametrize("name", ["vanilla_ghost", "vanilla_prisma", "topk_prisma"])
def test_ghost_grads_survive_a_batch_of_one_token(name):
    """The last batch of an epoch may hold one token, whose error is the batch mean."""
    recipe = make_recipe(RECIPES[name])
    losses, grads = hand_gradients(recipe, random_weights(), random_tokens()[:1], DEAD)
    assert torch.isfinite(losses.aux) and all(g.isfinite().all() for g in grads.values())


def test_dense_and_sparse_routes_agree_in_float32(monkeypatch):
    recipe = make_recipe(VANILLA)
    weights = Weights.of({k: t.float() for k, t in random_weights().tensors().items()})
    found = []
    for threshold in (0.0, 2.0):
        monkeypatch.setattr(entries, "SPARSE_BELOW", threshold)
        losses, grads = hand_gradients(recipe, weights, random_tokens().float(), DEAD)
        found.append((losses, {k: g.clone() for k, g in grads.items()}))
    (dense, dense_grads), (sparse, sparse_grads) = found
    assert dense.n_active == sparse.n_active
    torch.testing.assert_close(dense.sums, sparse.sums)
    torch.testing.assert_close(dense_grads, sparse_grads)


def test_wide_dictionaries_sort_by_comparison():
    """Above 2^16 latents the 16-bit sort is not used."""
    wide = 2**16 + 8
    columns = torch.tensor([3, wide - 1, 3, 70])
    code = codes.SparseCodes(torch.tensor([0, 2, 4]), columns, torch.ones(4), wide)
    by_latent = code.transposed()
    assert columns[by_latent.order].tolist() == [3, 3, 70, wide - 1]
    assert by_latent.token.tolist() == [0, 1, 1, 0]
    assert by_latent.latent_start[4] == 2 and by_latent.latent_start[-1] == 4

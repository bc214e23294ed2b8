"""Three routes that agree: the blocks, the closed form of the last layer, and the limit."""

import numpy as np
import pytest
import torch
from clip_towers import images_of, sae_for
from plain_edits import set_coordinates, set_latents
from torch.nn import functional as F

from clip_sae.analyses.shared.untrained import untrained_sae
from clip_sae.analyses.steering.routes import Routes
from clip_sae.analyses.steering.steered_units import (
    KINDS,
    equal_push_units,
    latent_units,
    neuron_directions,
    neuron_units,
    pca_directions,
    random_directions,
)

N_LAYERS = 3
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def residuals(tiny):
    """resid_post of every layer of five images."""
    found = tiny.run_to(images_of(tiny, 5), range(N_LAYERS))
    return [found["resid_post", layer] for layer in range(N_LAYERS)]


@pytest.fixture(scope="module")
def text(tiny):
    return tiny.embed_text([f"word {i}" for i in range(12)])


def routes_of(tiny, residuals, text, layer, **options):
    return Routes(tiny, layer, residuals[layer], text, 20.0, **options)


def alive_all(n):
    return np.ones(n, dtype=bool)


@pytest.mark.parametrize("input_norm", ["none", "layer_norm"])
@pytest.mark.parametrize("strength", [-20.0, 0.0, 5.0, 150.0])
def test_the_closed_form_is_the_general_route_at_the_last_layer(
    tiny, residuals, text, input_norm, strength
):
    sae = sae_for(residuals[2], input_norm=input_norm)
    units = latent_units(residuals[2], sae, alive_all(len(sae.W_dec)))
    columns = torch.arange(len(units))
    pushes = units.pushes(columns, strength)
    sign = float(np.sign(strength))
    general = routes_of(tiny, residuals, text, 2, closed_form=False)
    closed = routes_of(tiny, residuals, text, 2)
    assert closed.has_closed_form and not general.has_closed_form
    expected = general.steer(units.directions, pushes, sign)
    found = closed.steer(units.directions, pushes, sign)
    torch.testing.assert_close(found.probabilities, expected.probabilities, rtol=0, atol=2e-6)
    torch.testing.assert_close(
        found.limit_cosine.float(), expected.limit_cosine, rtol=0, atol=1e-5, equal_nan=True
    )
    assert found.limit_cosine.isnan().all() == (strength == 0)


@pytest.mark.parametrize("closed_form", [True, False])
@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_both_routes_tend_to_the_limit_at_every_layer(tiny, residuals, text, layer, closed_form):
    sae = sae_for(residuals[layer])
    units = latent_units(residuals[layer], sae, alive_all(len(sae.W_dec)))
    columns = torch.arange(len(units))
    routes = routes_of(tiny, residuals, text, layer, closed_form=closed_form)
    limit = routes.asymptote(units.directions)
    distances, cosines = [], []
    for strength in (1e1, 1e3, 1e5):
        found = routes.steer(units.directions, units.pushes(columns, strength))
        distances.append(float((found.probabilities - limit.probabilities).abs().max()))
        cosines.append(float(found.limit_cosine.min()))
    assert distances[0] > distances[1] > distances[2] and distances[2] < 1e-3
    assert cosines[0] < cosines[1] < cosines[2] + 1e-6 and cosines[2] > 1 - 1e-5


def test_the_limit_is_the_same_for_every_image_and_any_length_of_the_direction(
    tiny, residuals, text
):
    routes = routes_of(tiny, residuals, text, 1)
    directions = random_directions(residuals[1], 4, seed=0)
    limit = routes.asymptote(directions).probabilities
    assert limit.shape == (4, 5, 12)
    assert torch.equal(limit[:, 0], limit[:, 4])
    torch.testing.assert_close(routes.asymptote(7e3 * directions).probabilities, limit)
    assert not torch.allclose(routes.asymptote(-directions).probabilities, limit, atol=1e-2)


@pytest.mark.parametrize("layer", range(N_LAYERS))
@pytest.mark.parametrize("kind", ["latent", "neuron"])
def test_steering_a_unit_to_its_own_value_changes_nothing(tiny, residuals, text, layer, kind):
    x = residuals[layer]
    sae = sae_for(x)
    units = latent_units(x, sae, alive_all(len(sae.W_dec))) if kind == "latent" else neuron_units(x)
    columns = torch.arange(6)
    pushes = units.pushes(columns, units.before(columns))
    assert float(pushes.abs().max()) == 0
    routes = routes_of(tiny, residuals, text, layer)
    found = routes.steer(units.directions[:6], pushes)
    clean = routes.clean.expand_as(found.probabilities)
    torch.testing.assert_close(found.probabilities, clean, rtol=0, atol=2e-6)


def test_clean_equals_the_models_own_answer(tiny, residuals, text):
    images = F.normalize(tiny.run_from(residuals[0], 0), dim=-1)
    expected = (20.0 * images @ text.T).softmax(-1)
    for layer in range(N_LAYERS):
        clean = routes_of(tiny, residuals, text, layer, sequences_per_batch=4).clean
        torch.testing.assert_close(clean, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", range(N_LAYERS))
@pytest.mark.parametrize("error", ["keep", "drop"])
@pytest.mark.parametrize("architecture,k", [("vanilla", None), ("topk", 4), ("jumprelu", None)])
def test_a_batch_is_its_units_one_by_one_as_the_definition_steers_them(
    tiny, residuals, text, layer, error, architecture, k
):
    """The slow twin: each unit alone, through its definition and the whole rest of CLIP."""
    x = residuals[layer]
    sae = sae_for(x, architecture=architecture, k=k)
    units = latent_units(x, sae, alive_all(len(sae.W_dec)), error=error)
    routes = Routes(tiny, layer, units.x, text, 20.0, sequences_per_batch=4)
    chosen = torch.tensor([0, 7, 31])
    pushes = units.pushes(chosen, 9.0)
    found = routes.steer(units.directions[chosen], pushes)
    for row, latent in enumerate(chosen.tolist()):
        edited = set_latents(x, sae, [latent], 9.0, error=error)
        embedding = F.normalize(tiny.run_from(edited, layer), dim=-1)
        expected = (20.0 * embedding @ text.T).softmax(-1)
        torch.testing.assert_close(found.probabilities[row], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_a_batch_of_neurons_is_each_set_alone(tiny, residuals, text, layer):
    x = residuals[layer]
    units = neuron_units(x)
    routes = routes_of(tiny, residuals, text, layer)
    chosen = torch.tensor([3, 30])
    found = routes.steer(units.directions[chosen], units.pushes(chosen, 150.0))
    for row, neuron in enumerate(chosen.tolist()):
        embedding = F.normalize(tiny.run_from(set_coordinates(x, [neuron], 150.0), layer), dim=-1)
        expected = (20.0 * embedding @ text.T).softmax(-1)
        torch.testing.assert_close(found.probabilities[row], expected, rtol=0, atol=1e-5)


def test_equal_pushes_have_the_mean_latents_norm_at_every_token(residuals):
    x = residuals[1]
    sae = sae_for(x)
    latents = latent_units(x, sae, alive_all(len(sae.W_dec)))
    everyone = torch.arange(len(latents))
    mean = latents.pushes(everyone, 150.0).abs().mean(-1)  # [image token]
    for directions in (neuron_directions(x), pca_directions(x), random_directions(x, 5, seed=0)):
        units = equal_push_units("random", x, sae, directions)
        pushes = units.pushes(torch.tensor([0, 2]), 150.0)
        norms = pushes * units.directions[[0, 2]].norm(dim=-1)
        torch.testing.assert_close(norms, mean.unsqueeze(-1).expand_as(norms), rtol=1e-5, atol=0)


def test_principal_directions_are_orthonormal_ordered_and_signed(residuals):
    x = residuals[1] + torch.randn(32) * torch.randn(5, 5, 1) * 9  # one direction dominates
    directions = pca_directions(x)
    torch.testing.assert_close(directions @ directions.T, torch.eye(32), rtol=0, atol=1e-5)
    spread = ((x.reshape(-1, 32) - x.reshape(-1, 32).mean(0)) @ directions.T).square().sum(0)
    assert (spread.diff() <= 1e-3).all() and spread[0] > 10 * spread[1]
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_an_untrained_sae_has_the_starting_weights_of_training(residuals):
    x = residuals[1]
    sae = sae_for(x, architecture="topk", k=4)
    fresh = untrained_sae(sae, x, seed=3)
    assert (fresh.architecture, fresh.k, fresh.input_norm) == ("topk", 4, "layer_norm")
    torch.testing.assert_close(fresh.W_dec.norm(dim=1), torch.ones(len(fresh.W_dec)))
    assert torch.equal(fresh.W_enc, fresh.W_dec.T) and not fresh.b_enc.any()
    assert torch.equal(fresh.W_dec, untrained_sae(sae, x, seed=3).W_dec)
    assert not torch.equal(fresh.W_dec, untrained_sae(sae, x, seed=4).W_dec)
    assert not torch.equal(fresh.W_dec, sae.W_dec)


def test_kinds_are_named_once():
    assert len(set(KINDS)) == len(KINDS) == 6

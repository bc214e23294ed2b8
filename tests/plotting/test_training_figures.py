"""Training curves, firing rates and the sweep."""

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.firing import draw as firing
from clip_sae.analyses.sweep.draw import sweep


def curve_table(recipes=("vanilla/base", "topk/k-16"), layers=(0, 3)):
    rows = [
        {
            "recipe": recipe,
            "layer": layer,
            "tokens": 4096 * (step + 1),
            "loss": 10.0 / (step + 1) + layer,
            "l0": 16.0,
            "explained_variance": 0.9 - 5.0 * (step == 0),
            "dead_latents": step,
        }
        for recipe in recipes
        for layer in layers
        for step in range(5)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_curves_have_a_row_per_metric_and_a_column_per_recipe(csv):
    figure = firing.training_curves(None, csv=csv(curve_table()))
    assert len(figure.axes) == 8
    first = figure.axes[0]
    assert first.get_ylabel() == "loss"
    assert len(first.get_lines()) == 2
    x, y = first.get_lines()[0].get_data()
    np.testing.assert_allclose(x, 4096e-6 * np.arange(1, 6))
    assert (np.diff(y) < 0).all()
    # A first step far below zero does not flatten the rest.
    assert figure.axes[4].get_ylim() == pytest.approx((-0.1, 1.0))


def histogram(recipes=("vanilla/base",)):
    edges = np.linspace(-4, 0, 5)
    return pd.concat(
        pd.DataFrame(
            {
                "recipe": recipe,
                "layer": layer,
                "log10_rate_low": edges[:-1],
                "log10_rate_high": edges[1:],
                "n_latents": [1, 2, 3, 4 + layer],
                "dead_latents": 12,
                "d_sae": 1024,
            }
        )
        for recipe in recipes
        for layer in (0, 5)
    )


def test_firing_steps_and_the_dead_in_the_legend(csv):
    [ax] = firing.firing(None, csv=csv(histogram())).axes
    values, edges, _ = ax.patches[1].get_data()
    assert values.tolist() == [1, 2, 3, 9]
    np.testing.assert_allclose(edges, np.linspace(-4, 0, 5))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["0: 12 (1%)", "5: 12 (1%)"]
    assert ax.get_legend().get_title().get_text() == "layer: dead of 1,024 latents"


@pytest.mark.parametrize("n_recipes", [1, 2, 4])
def test_firing_has_a_panel_per_recipe(n_recipes, csv):
    table = histogram([f"recipe {i}" for i in range(n_recipes)])
    figure = firing.firing(None, csv=csv(table))
    assert sum(ax.get_visible() for ax in figure.axes) == n_recipes


@pytest.fixture
def sweep_figure(csv):
    rows = [(lr, l1) for lr in (1e-4, 1e-3) for l1 in (1e-5, 1e-4, 1e-3)]
    table = pd.DataFrame(rows, columns=["lr", "l1_coefficient"])
    table = table.assign(
        explained_variance=[0.9, 0.8, 0.7, 0.95, np.nan, -3.0],
        l0=[100.0, 30.0, 0.0, 90.0, 20.0, 1.0],
        alive_latents=[100, 90, 0, 95, 90, 10],
        d_sae=128,
        chosen=[False, True, False, False, False, False],
    )
    return sweep(None, csv=csv(table))


def test_the_grid_places_lr_across_and_l1_up_and_leaves_out_the_diverged(sweep_figure):
    ax = sweep_figure.axes[0]
    texts = {tuple(map(round, text.get_position())): text.get_text() for text in ax.texts}
    assert texts[0, 0] == "0.90"
    assert texts[1, 0] == "0.95"
    assert texts[1, 2] == "-3.00"
    assert (1, 1) not in texts
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1e-4", "1e-3"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["1e-5", "1e-4", "1e-3"]
    # The chosen one is framed.
    assert ax.patches[-1].get_xy() == (-0.5, 0.5)


def test_the_trade_off_rings_the_choice(sweep_figure):
    *_, ax = sweep_figure.axes
    ring = ax.collections[-1].get_offsets()
    np.testing.assert_allclose(ring, [[30, 0.8]])
    assert ax.get_legend().get_texts()[-1].get_text() == "chosen"


def test_variants_of_a_recipe_get_panels_of_their_own(csv):
    table = pd.concat(histogram(["vanilla"]).assign(variant=v) for v in ("base", "k-16", "k-32"))
    figure = firing.firing(None, csv=csv(table))
    assert [ax.get_title("left") for ax in figure.axes] == [
        "vanilla",
        "vanilla\nk-16",
        "vanilla\nk-32",
    ]
    assert all(len(ax.patches) == 2 for ax in figure.axes)
    curve = pd.concat(curve_table(["vanilla"]).assign(variant=v) for v in ("k-16", "k-32"))
    assert len(firing.training_curves(None, csv=csv(curve)).axes) == 8

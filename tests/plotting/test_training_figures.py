"""Training curves, firing rates and the sweep."""

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.firing import draw_curves as curves
from clip_sae.analyses.firing import draw_firing as firing
from clip_sae.analyses.sweep.draw_sweep import draw_sweep, plot_grid, plot_trade_off
from clip_sae.plotting import theme


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


def test_curves_have_a_row_per_metric_and_a_column_per_recipe(tmp_path):
    figure = curves.draw_training_curves(curve_table())
    assert len(figure.axes) == 8
    first = figure.axes[0]
    assert first.get_ylabel() == "loss"
    assert len(first.get_lines()) == 2
    x, y = first.get_lines()[0].get_data()
    np.testing.assert_allclose(x, 4096e-6 * np.arange(1, 6))
    assert (np.diff(y) < 0).all()
    # A first step far below zero does not flatten the rest.
    assert figure.axes[4].get_ylim() == pytest.approx((-0.1, 1.0))
    figure.savefig(tmp_path / "curves.png")


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


def test_firing_steps_and_the_dead_in_the_legend(ax):
    firing.plot_firing(histogram(), ax, colours=theme.layer_colours([0, 5]))
    values, edges, _ = ax.patches[1].get_data()
    assert values.tolist() == [1, 2, 3, 9]
    np.testing.assert_allclose(edges, np.linspace(-4, 0, 5))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["0: 12 (1%)", "5: 12 (1%)"]
    assert ax.get_legend().get_title().get_text() == "layer: dead of 1,024 latents"


@pytest.mark.parametrize("n_recipes", [1, 2, 4])
def test_firing_has_a_panel_per_recipe(n_recipes, tmp_path):
    figure = firing.draw_firing(histogram([f"recipe {i}" for i in range(n_recipes)]))
    assert sum(ax.get_visible() for ax in figure.axes) == n_recipes
    figure.savefig(tmp_path / "firing.png")


def test_the_grid_places_lr_across_and_l1_up_and_leaves_out_the_diverged(sweep, ax):
    plot_grid(sweep, ax, value="explained_variance")
    texts = {tuple(map(round, text.get_position())): text.get_text() for text in ax.texts}
    assert texts[0, 0] == "0.90"
    assert texts[1, 0] == "0.95"
    assert texts[1, 2] == "-3.00"
    assert (1, 1) not in texts
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1e-4", "1e-3"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["1e-5", "1e-4", "1e-3"]
    # The chosen one is framed.
    assert ax.patches[-1].get_xy() == (-0.5, 0.5)


def test_the_trade_off_rings_the_choice(sweep, ax):
    plot_trade_off(sweep, ax)
    ring = ax.collections[-1].get_offsets()
    np.testing.assert_allclose(ring, [[30, 0.8]])
    assert ax.get_legend().get_texts()[-1].get_text() == "chosen"


def test_the_sweep_figure_draws_with_zeros_and_nans(sweep, tmp_path):
    figure = draw_sweep(sweep, title="vanilla, layer 3")
    assert len(figure.axes) == 4
    figure.savefig(tmp_path / "sweep.png")


def test_variants_of_a_recipe_get_panels_of_their_own():
    table = pd.concat(histogram(["vanilla"]).assign(variant=v) for v in ("base", "k-16", "k-32"))
    figure = firing.draw_firing(table)
    assert [ax.get_title("left") for ax in figure.axes] == [
        "vanilla",
        "vanilla\nk-16",
        "vanilla\nk-32",
    ]
    assert all(len(ax.patches) == 2 for ax in figure.axes)
    curve = pd.concat(curve_table(["vanilla"]).assign(variant=v) for v in ("k-16", "k-32"))
    assert len(curves.draw_training_curves(curve).axes) == 8

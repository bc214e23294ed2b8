"""Figs 1, 2, 3 and 10: they draw their inputs unchanged."""

import json

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.pictures.draw import fig1, fig3
from clip_sae.analyses.pictures.draw_top_images import fig2, fig10
from clip_sae.plotting.image_grid import OPACITY, coloured


@pytest.mark.parametrize("size", [(14, 14), (15, 10), (7, 7)])
def test_colours_lie_over_their_patches(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    patches = np.random.default_rng(1).uniform(-1, 3, (7, 7))
    drawn = coloured(pixels, patches, 0.0, 2.0)
    for y in range(size[0]):
        for x in range(size[1]):
            share = min(max(patches[y * 7 // size[0], x * 7 // size[1]] / 2, 0), 1)
            grey = pixels[y, x].astype(float) @ [0.299, 0.587, 0.114]
            colour = 255 * np.array(mpl.colormaps["inferno"](float(share))[:3])
            over = (1 - OPACITY) * grey + OPACITY * colour
            expected = (1 - share) * pixels[y, x] + share * over
            np.testing.assert_allclose(drawn[y, x], expected, atol=0.51)
    np.testing.assert_array_equal(coloured(pixels, np.zeros((7, 7)), 0.0, 1.0), pixels)


# --- top images -----------------------------------------------------------------------------------


@pytest.fixture
def top(tmp_path):
    """Water: latents 1 and 2, neuron 3; land: latent 4, which means nothing on patches."""
    strips = (("water", "latent", 1, 3), ("water", "latent", 2, 2), ("water", "neuron", 3, 3),
              ("words", "neuron", 5, 3), ("land", "latent", 4, 3))  # fmt: skip
    shown = pd.DataFrame(
        {"concept": concept, "kind": kind, "unit": unit, "place": place, "row": 10 * unit + place,
         "dataset": "birds", "layer": 3, "units": "vanilla", "ranking": "mean", "gap": 0.25,
         "in_set": unit != 2}
        for concept, kind, unit, n in strips for place in range(n)
    )  # fmt: skip
    maps = np.random.default_rng(1).uniform(0, 2, (len(shown), 50))
    maps[shown.unit == 4, 1:] = np.nan
    shown.to_csv(tmp_path / "shown.csv", index=False)
    np.save(tmp_path / "maps.npy", maps)
    return {"sets": [{"found": tmp_path, "images": None}], "grid": (7, 7), "n_images": 4}


def strips(figure):
    return {ax.get_title("left").split(",")[0]: ax for ax in figure.axes if ax.get_title("left")}


def test_every_concept_and_unit_is_named_and_drawn(top, decoded, texts):
    figure = fig10(None, **top, n_units=2)
    found = texts(figure)
    assert {"water (birds, layer 3, vanilla)", "land (birds, layer 3, vanilla)"} <= set(found)
    assert not any(text.startswith("words") for text in found)  # no latent was chosen there
    assert any("(mean over tokens)" in text for text in found)
    drawn = strips(figure)
    counts = {name: len(ax.images) for name, ax in drawn.items()}
    assert counts == {"latent 1": 3, "latent 2": 2, "neuron 3": 3, "latent 4": 3}
    assert drawn["latent 2"].get_title("left").endswith("(not chosen)")
    tops = {name: ax.get_position().y0 for name, ax in drawn.items()}
    assert tops["latent 1"] == tops["neuron 3"] > tops["latent 2"] > tops["latent 4"]


def test_plain_images_stand_above_the_coloured_ones(top, decoded):
    drawn = strips(fig2(None, **top))
    images = [np.asarray(image.get_array()) for image in drawn["latent 1"].images]
    maps = np.load(top["sets"][0]["found"] / "maps.npy")[:3, 1:].reshape(3, 7, 7)
    np.testing.assert_array_equal(images[0], decoded(10))
    np.testing.assert_array_equal(images[1], coloured(decoded(10), maps[0], 0.0, maps.max()))
    assert len(images) == 6
    assert len(drawn["latent 4"].images) == 3  # no map, so no second picture


# --- examples -------------------------------------------------------------------------------------


@pytest.fixture
def found(tmp_path):
    """Write the measurements of a set; return them as a step receives them."""

    def write(**about):
        path = tmp_path / "found.json"
        path.write_text(json.dumps(about))
        return [{"found": path, "images": None}]

    return write


def test_figures_without_a_set_say_so(top, found, decoded, texts):
    sets = found(example=None, concepts={}, dataset="birds")
    shown = top["sets"][0]["found"] / "shown.csv"
    pd.read_csv(shown).query("kind == 'neuron'").to_csv(shown)
    for figure in (
        fig1(None, sets=sets, grid=(7, 7), chosen_by_user=False),
        fig3(None, sets=sets),
        fig2(None, **top),
    ):
        assert any("Nothing to show" in text for text in texts(figure))


def test_the_argument_shows_both_answers_and_marks_the_true_one(found, decoded, texts):
    example = {
        "classes": ["landbird", "waterbird"], "true": 0, "attribute": 1, "row": 4, "layer": 3,
        "n_units": 12, "n_all": 5000, "before": [0.1, 0.9], "after": [0.997, 0.003],
        "latents": [{"unit": 7, "values": [1.0, *np.eye(7).ravel()]},
                    {"unit": 9, "values": [1.0] + [0.0] * 49}],
    }  # fmt: skip
    concepts = {"a": "water", "not_a": "land"}
    sets = found(example=example, concepts=concepts, dataset="waterbirds")
    figure = fig1(None, sets=sets, grid=(7, 7), chosen_by_user=False)
    names = texts(figure)
    assert any(text.endswith("the one whose answer changes most") for text in names)
    assert {
        "waterbirds: landbird, water; 12 of 5,000 latents of layer 3 taken out",
        "landbird\n(true)",
        "waterbird",
        "10 %",
        "90 %",
        "<1 %",
        "latent 7\n0 to 1",
    } <= {*names}
    [bars] = [ax for ax in figure.findobj(mpl.axes.Axes) if ax.patches]
    assert [round(bar.get_width(), 3) for bar in bars.patches] == [0.1, 0.9, 0.997, 0.003]


def test_the_attack_marks_the_true_class_and_the_written_one(found, decoded, texts):
    dog, cat = ("dog", 0.9), ("cat", 0.05)
    example = {
        "rows": {"clean": 1, "attacked": 2}, "written": "cat", "true": "dog", "n_units": 4,
        "layer": 5, "answers": {"clean": {"before": [dog, cat], "after": [dog, cat]},
                                "attacked": {"before": [cat, dog], "after": [dog, cat]}},
    }  # fmt: skip
    figure = fig3(None, sets=found(example=example))
    names = [
        [label.get_text() for label in ax.get_yticklabels()] for ax in figure.axes if ax.patches
    ]
    assert names == [["dog (true)", "cat"], ["dog (true)", "cat"],
                     ["cat (written)", "dog (true)"], ["dog (true)", "cat (written)"]]  # fmt: skip
    assert {"without 4 latents of layer 5", "the model as it is"} <= set(texts(figure))

"""Figs 1, 2, 3 and 10: what is drawn is what is given."""

import matplotlib as mpl
import numpy as np
import pytest

from clip_sae.analyses.pictures.draw_argument import (
    AnsweredImage,
    SuppressedExample,
    draw_argument,
    draw_attack,
)
from clip_sae.plotting.image_grid import OPACITY, Concept, Strip, coloured, draw_concepts


def texts(figure):
    found = [text.get_text() for text in figure.findobj(mpl.text.Text)]
    return [text for text in found if text]


def pictures(n=3, side=14):
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)


def strip(label="latent 5", n=3, low=0.0, high=2.0):
    maps = np.random.default_rng(1).uniform(low, high, (n, 7, 7)) if high else np.zeros((n, 7, 7))
    return Strip(label, pictures(n), maps, low, high)


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


def test_every_concept_and_unit_is_named_and_drawn():
    concepts = [
        Concept("water", [strip("latent 1"), strip("latent 2", n=2)], [strip("neuron 3")]),
        Concept("nothing", [], []),
        Concept("land", [strip("latent 4")], []),
    ]
    figure = draw_concepts(concepts, n_places=4, rule="by the mean")
    found = texts(figure)
    assert {"water", "land", "latent 1", "latent 2", "neuron 3", "latent 4"} <= set(found)
    assert "nothing" not in found and any("by the mean" in text for text in found)
    drawn = {ax.get_title("left"): len(ax.images) for ax in figure.axes if ax.get_title("left")}
    assert drawn == {"latent 1": 3, "latent 2": 2, "neuron 3": 3, "latent 4": 3}
    tops = {ax.get_title("left"): ax.get_position().y0 for ax in figure.axes}
    assert tops["latent 1"] == tops["neuron 3"] > tops["latent 2"] > tops["latent 4"]


def test_plain_images_stand_above_the_coloured_ones():
    one = strip(n=2)
    figure = draw_concepts([Concept("water", [one], [])], n_places=3, plain=True)
    [ax] = [ax for ax in figure.axes if ax.get_title("left")]
    images = [np.asarray(image.get_array()) for image in ax.images]
    np.testing.assert_array_equal(images[0], one.pixels[0])
    np.testing.assert_array_equal(images[1], coloured(one.pixels[0], one.maps[0], 0.0, 2.0))
    assert len(images) == 4
    without = draw_concepts([Concept("words", [strip(high=0.0)], [])], n_places=3, plain=True)
    [ax] = [ax for ax in without.axes if ax.get_title("left")]
    assert len(ax.images) == 3  # no map, so no second picture


def test_figures_without_a_set_say_so(tmp_path):
    for i, figure in enumerate(
        (draw_concepts([], n_places=3), draw_argument([]), draw_attack([], edit=""))
    ):
        assert any("Nothing to show" in text for text in texts(figure))
        figure.savefig(tmp_path / f"{i}.png")


def test_the_argument_shows_both_answers_and_marks_the_true_one(tmp_path):
    example = SuppressedExample(
        title="waterbirds: landbird, water",
        pixels=pictures(1)[0],
        latents=["latent 7", "latent 9"],
        maps=np.stack([np.eye(7), np.zeros((7, 7))]),
        classes=["landbird", "waterbird"],
        before=[0.1, 0.9],
        after=[0.997, 0.003],
        true=0,
    )
    figure = draw_argument([example], rule="the image that changes most")
    assert any(text.endswith("the image that changes most") for text in texts(figure))
    figure.savefig(tmp_path / "fig1.png")
    found = texts(figure)
    assert {
        "waterbirds: landbird, water",
        "landbird\n(true)",
        "waterbird",
        "10 %",
        "90 %",
        "<1 %",
    } <= {*found}
    [bars] = [ax for ax in figure.findobj(mpl.axes.Axes) if ax.patches]
    assert [round(bar.get_width(), 3) for bar in bars.patches] == [0.1, 0.9, 0.997, 0.003]


def test_the_attack_marks_the_true_class_and_the_written_one(tmp_path):
    dog, cat = ("dog", 0.9), ("cat", 0.05)
    clean = AnsweredImage("as it is", pictures(1)[0], [dog, cat], [dog, cat], "dog", None)
    attacked = AnsweredImage("with “cat”", pictures(1)[0], [cat, dog], [dog, cat], "dog", "cat")
    figure = draw_attack([clean, attacked], edit="without 4 latents")
    figure.savefig(tmp_path / "fig3.png")
    names = [
        [label.get_text() for label in ax.get_yticklabels()] for ax in figure.axes if ax.patches
    ]
    assert names == [["dog (true)", "cat"], ["dog (true)", "cat"],
                     ["cat (written)", "dog (true)"], ["dog (true)", "cat (written)"]]  # fmt: skip
    assert {"without 4 latents", "the model as it is"} <= set(texts(figure))

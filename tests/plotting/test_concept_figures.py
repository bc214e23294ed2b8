"""Concept figures: they draw their inputs unchanged."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from clip_sae.analyses.concepts import draw
from clip_sae.plotting.image_grid import coloured


@pytest.fixture
def table():
    latents = pd.DataFrame(
        {
            "kind": "latent",
            "log10_sparsity": [-1.0, -2.0, -0.5, np.nan],
            "mean_activation": [0.1, 0.2, 0.3, np.nan],
            "label_entropy": [0.0, np.nan, 1.0, np.nan],
        }
    )
    neurons = pd.DataFrame({"kind": "neuron", "label_entropy": [1.0, 2.0]})
    both = pd.concat([latents, neurons], ignore_index=True)
    return both.assign(label_entropy_normalised=both["label_entropy"] / 2)


def test_every_latent_that_lives_is_a_point(table, csv, texts):
    about = {"sae": "topk", "layer": 4, "dataset": "birds", "top_images": 10}
    figure = draw.concepts(None, csv=csv(table), **about)
    points = figure.axes[0].findobj(PathCollection)
    drawn = [tuple(xy) for one in points for xy in np.asarray(one.get_offsets())]
    assert drawn == [(-2.0, 0.2), (-0.5, 0.3), (-1.0, 0.1)]  # grey first, the clearest last
    assert points[1].get_array().tolist() == [0.5, 0.0]
    found = texts(figure)
    assert "4 latents, 1 dead (not shown), 1 too rare (grey)" in found
    assert {"SAE latents (2)", "neurons (2)", "topk, layer 4, on birds"} <= {*found}
    steps = figure.axes[1].get_lines()[0]
    np.testing.assert_array_equal(steps.get_xdata(), [0, 0, 0.5, 1])
    np.testing.assert_array_equal(steps.get_ydata(), [0, 0.5, 1, 1])


@pytest.fixture
def measured(tmp_path):
    """Two images: the first with latents 0 (inactive on it) and 1, the second with latent 2."""
    rng = np.random.default_rng(0)
    for name in ("measured", "masks"):
        (tmp_path / name).mkdir()
    example = {"position": [0, 0, 1], "row": [3, 3, 7], "unit": [0, 1, 2], "role": "strong"}
    example |= {"label": ["arrow", "arrow", "star"], "class_iou": [0.5, 0.5, 0.4]}
    pd.DataFrame(example).to_csv(tmp_path / "masks/examples.csv")
    maps = rng.uniform(0, 2, (3, 49))
    maps[0] = 0
    np.save(tmp_path / "masks/example_maps.npy", maps)
    outline = np.zeros((3, 14, 14), dtype=bool)
    outline[:, 3:9, 0:8] = True
    np.save(tmp_path / "masks/example_masks.npy", outline)
    found = {"kind": "latent", "unit": [0, 1, 2], "images": ["1 2", "4 5 6", "9"]}
    found |= {"top_label_share": 0.5, "top_label": "arrow"}
    pd.DataFrame(found).to_csv(tmp_path / "measured/concepts.csv")
    np.save(tmp_path / "measured/maps.npy", rng.uniform(0, 3, (3, 5, 49)))
    return tmp_path


def masks_figure(folder, known_masks=True):
    return draw.concept_masks(
        None, images=None, measured=folder / "measured", masks=folder / "masks", grid=(7, 7),
        known_masks=known_masks, chosen=False, sae="topk", layer=4,
    )  # fmt: skip


def test_each_latent_has_its_mask_and_its_references(measured, decoded, texts):
    figure = masks_figure(measured)
    found = texts(figure)
    assert {"arrow, IoU 0.50", "star, IoU 0.40"} <= {*found}
    assert "latent 1, strong: top images 50 % arrow" in found
    assert any(text.endswith("blue: the object's true outline") for text in found)
    strips = [ax for ax in figure.axes if ax.get_title("left")]
    assert [len(ax.images) for ax in strips] == [2, 3, 1]
    single = [ax for ax in figure.axes if len(ax.images) == 1 and ax not in strips]
    first, off, on = (np.asarray(ax.images[0].get_array()) for ax in single[:3])
    np.testing.assert_array_equal(first, decoded(3))
    np.testing.assert_array_equal(off, decoded(3))  # a latent that is not active changes nothing
    patches = np.load(measured / "masks/example_maps.npy")[1].reshape(7, 7)
    np.testing.assert_array_equal(on, coloured(decoded(3), patches, 0.0, patches.max()))


def test_an_outline_follows_the_mask_if_it_is_known(measured, decoded):
    outlined = [ax for ax in masks_figure(measured).axes if ax.collections]
    assert len(outlined) == 5  # two images and three masks
    points = np.concatenate([path.vertices for path in outlined[0].collections[0].get_paths()])
    np.testing.assert_allclose(points.min(0), [0, 3], atol=0.51)
    np.testing.assert_allclose(points.max(0), [8, 9], atol=0.51)
    assert not any(ax.collections for ax in masks_figure(measured, known_masks=False).axes)

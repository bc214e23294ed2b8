"""Concept figures and the quality table: what is drawn and printed is what is given."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from clip_sae.analyses.concepts.draw_masks import ExplainedImage, ExplainedLatent, draw_explained
from clip_sae.analyses.concepts.draw_scatter import draw_concepts_scatter
from clip_sae.analyses.quality.render_quality import quality_markdown
from clip_sae.analyses.quality.stability import over_seeds
from clip_sae.plotting.image_grid import Strip, coloured


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


@pytest.fixture
def concepts():
    latents = pd.DataFrame(
        {
            "kind": "latent",
            "log10_sparsity": [-1.0, -2.0, -0.5, np.nan],
            "mean_activation": [0.1, 0.2, 0.3, np.nan],
            "label_entropy": [0.0, np.nan, 1.0, np.nan],
        }
    )
    neurons = pd.DataFrame({"kind": "neuron", "label_entropy": [1.0, 2.0]})
    table = pd.concat([latents, neurons], ignore_index=True)
    return table.assign(label_entropy_normalised=table["label_entropy"] / 2)


def test_every_latent_that_lives_is_a_point(concepts, tmp_path):
    figure = draw_concepts_scatter(concepts, title="topk, layer 4", top_images=10)
    figure.savefig(tmp_path / "concepts.png")
    points = figure.axes[0].findobj(PathCollection)
    drawn = [tuple(xy) for one in points for xy in np.asarray(one.get_offsets())]
    assert drawn == [(-2.0, 0.2), (-0.5, 0.3), (-1.0, 0.1)]  # grey first, the clearest last
    assert points[1].get_array().tolist() == [0.5, 0.0]
    found = texts(figure)
    assert "4 latents, 1 dead (not shown), 1 too rare (grey)" in found
    assert {"SAE latents (2)", "neurons (2)", "topk, layer 4"} <= {*found}
    steps = figure.axes[1].get_lines()[0]
    np.testing.assert_array_equal(steps.get_xdata(), [0, 0, 0.5, 1])
    np.testing.assert_array_equal(steps.get_ydata(), [0, 0.5, 1, 1])
    with pytest.raises(ValueError, match="needs the column 'log10_sparsity'"):
        draw_concepts_scatter(concepts[["kind"]], title="", top_images=10)


def explained(n_latents, masked=True):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (14, 14, 3), np.uint8)
    mask = np.zeros((14, 14), dtype=bool)
    mask[3:9, 0:8] = True
    images = rng.integers(0, 256, (3, 14, 14, 3), np.uint8)
    latents = [
        ExplainedLatent(
            rng.uniform(0, 2, (7, 7)) * (i > 0),
            Strip(f"latent {i}", images, rng.uniform(0, 3, (3, 7, 7)), 0.0, 3.0),
        )
        for i in range(n_latents)
    ]
    return ExplainedImage("arrow", pixels, mask if masked else None, latents)


def test_each_latent_has_its_mask_and_its_references(tmp_path):
    figure = draw_explained([explained(2), explained(3, masked=False)], n_references=4, rule="why")
    figure.savefig(tmp_path / "masks.png")
    found = texts(figure)
    assert {"latent 0", "latent 1", "latent 2", "arrow"} <= {*found}
    assert any(text.endswith("why") for text in found)
    strips = [ax for ax in figure.axes if ax.get_title("left")]
    assert [len(ax.images) for ax in strips] == [3] * 5
    one = explained(2)
    single = [ax for ax in figure.axes if len(ax.images) == 1 and not ax.get_title("left")]
    first, off, on = (np.asarray(ax.images[0].get_array()) for ax in single[:3])
    np.testing.assert_array_equal(first, one.pixels)
    np.testing.assert_array_equal(off, one.pixels)  # a latent that is not active changes nothing
    patches = one.latents[1].patches
    np.testing.assert_array_equal(on, coloured(one.pixels, patches, 0.0, patches.max()))
    outlined = [len(ax.collections) for ax in single[:7]]
    assert outlined == [1, 1, 1, 0, 0, 0, 0]


def test_an_outline_follows_the_mask():
    figure = draw_explained([explained(1)], n_references=3, rule="")
    [contour, *_] = [ax.collections[0] for ax in figure.axes if ax.collections]
    points = np.concatenate([path.vertices for path in contour.get_paths()])
    np.testing.assert_allclose(points.min(0), [0, 3], atol=0.51)
    np.testing.assert_allclose(points.max(0), [8, 9], atol=0.51)


def quality_rows():
    rows = []
    for seed in range(2):
        rows.append({"recipe": "topk", "layer": 4, "sae": f"k-4_seed-{seed}", "kind": "latent",
                     "group": "k-4", "n_images": 1920, "n_units": 10 + 2 * seed,
                     "monosemanticity_encoder": 0.25 + 0.1 * seed, "matched_cosine": 0.7,
                     "nearest_cosine": 0.8, "matched_floor": 0.2})  # fmt: skip
    for recipe in ("topk", "vanilla"):
        rows.append({"recipe": recipe, "layer": 4, "sae": "neurons", "kind": "neuron",
                     "n_images": 1920, "n_units": 128,
                     "monosemanticity_encoder": 0.203})  # fmt: skip
    rows.append({"recipe": "topk", "layer": 4, "sae": "untrained", "kind": "untrained",
                 "n_images": 1920, "n_units": 16, "monosemanticity_encoder": 0.22})  # fmt: skip
    table = pd.DataFrame(rows).assign(clarity_encoder=0.5, floor_encoder=0.2)
    for name in ("monosemanticity_encoder", "clarity_encoder", "matched_cosine", "nearest_cosine"):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 0.01, table[name] + 0.01
    return table


CAPTION = {"model": "demo", "encoder": "demo", "circular": True, "factors": [], "top_images": 10,
           "split": "general, test"}  # fmt: skip


def test_the_quality_table_names_each_sae_and_its_floor():
    text = quality_markdown(quality_rows(), CAPTION)
    assert "MS (demo, circular)" in text and "circular." in text and "0.200 (demo)" in text
    assert "| topk/k-4_seed-1 | 4 | 12 | 0.350 [0.340, 0.360] | 0.500 [0.490, 0.510] |" in text
    assert text.count("| neurons |") == 1 and "| topk, untrained |" in text
    assert "(1,920 images)" in text and "atched" not in text
    other = quality_markdown(quality_rows(), CAPTION | {"circular": False, "encoder": "dino"})
    assert "circular" not in other and "MS (dino)" in other


def test_over_seeds_is_the_mean_with_the_least_and_greatest():
    table = over_seeds(quality_rows())
    row = table.iloc[0]
    assert row.group == "k-4" and row.n_seeds == 2 and row.n_units == 11
    assert row.monosemanticity_encoder == pytest.approx(0.3)
    low, high = row.monosemanticity_encoder_low, row.monosemanticity_encoder_high
    assert (low, high) == pytest.approx((0.25, 0.35))
    assert table.kind.tolist() == ["latent", "neuron", "neuron", "untrained"]
    text = quality_markdown(table, CAPTION, seeds=True)
    assert "| topk/k-4 | 4 | 11 | 0.300 [0.250, 0.350] |" in text
    assert "Matched cosine" in text and "least, greatest" in text

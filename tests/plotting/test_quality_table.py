"""The quality table of latents."""

import pandas as pd
import pytest

from clip_sae.analyses.quality.render import quality
from clip_sae.analyses.quality.stability import over_seeds


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


def test_the_quality_table_names_each_sae_and_its_floor(csv):
    rows = csv(quality_rows())
    text = quality(None, csv=rows, caption=CAPTION, seeds=False)
    assert "MS (demo, circular)" in text and "circular." in text and "0.200 (demo)" in text
    assert "| topk/k-4_seed-1 | 4 | 12 | 0.350 [0.340, 0.360] | 0.500 [0.490, 0.510] |" in text
    assert text.count("| neurons |") == 1 and "| topk, untrained |" in text
    assert "(1,920 images)" in text and "atched" not in text
    caption = CAPTION | {"circular": False, "encoder": "dino"}
    other = quality(None, csv=rows, caption=caption, seeds=False)
    assert "circular" not in other and "MS (dino)" in other


def test_over_seeds_is_the_mean_with_the_least_and_greatest(csv):
    table = over_seeds(quality_rows())
    row = table.iloc[0]
    assert row.group == "k-4" and row.n_seeds == 2 and row.n_units == 11
    assert row.monosemanticity_encoder == pytest.approx(0.3)
    low, high = row.monosemanticity_encoder_low, row.monosemanticity_encoder_high
    assert (low, high) == pytest.approx((0.25, 0.35))
    assert table.kind.tolist() == ["latent", "neuron", "neuron", "untrained"]
    text = quality(None, csv=csv(quality_rows()), caption=CAPTION, seeds=True)
    assert "| topk/k-4 | 4 | 11 | 0.300 [0.250, 0.350] |" in text
    assert "Matched cosine" in text and "least, greatest" in text

"""Small synthetic tables, and the house style on for every figure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from clip_sae.plotting import theme

RESOURCES = Path(__file__).parents[2] / "workflow" / "resources"


@pytest.fixture(autouse=True)
def style():
    theme.use_style(RESOURCES / "style.mplstyle")


@pytest.fixture
def resources():
    return RESOURCES


@pytest.fixture
def ax():
    return Figure(figsize=(4, 3)).subplots()


def positions(layer, side=7):
    patch = np.arange(-1, side * side)
    mean = 10.0 * (layer + 1) + patch
    return pd.DataFrame(
        {
            "layer": layer,
            "token": patch + 1,
            "token_type": ["cls"] + ["patch"] * side * side,
            "row": np.where(patch < 0, -1, patch // side),
            "column": np.where(patch < 0, -1, patch % side),
            "n_images": 1234,
            "mean_l0": mean,
            "whisker_low": mean - 4,
            "q25": mean - 2,
            "median": mean,
            "q75": mean + 2,
            "whisker_high": mean + 4,
        }
    )


@pytest.fixture
def by_token():
    return pd.concat([positions(layer) for layer in range(3)], ignore_index=True)


@pytest.fixture
def by_layer():
    table = pd.DataFrame({"layer": [2, 0, 1], "patch_l0": 300.0, "cls_l0": [40.0, 5.0, 20.0]})
    for name in ("patch_l0", "cls_l0"):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 1, table[name] + 1
    return table.assign(gpt2_l0=[np.nan, 10.0, 18.0])


@pytest.fixture
def sweep():
    rates, coefficients = [1e-4, 1e-3], [1e-5, 1e-4, 1e-3]
    rows = [(lr, l1) for lr in rates for l1 in coefficients]
    table = pd.DataFrame(rows, columns=["lr", "l1_coefficient"])
    return table.assign(
        explained_variance=[0.9, 0.8, 0.7, 0.95, np.nan, -3.0],
        l0=[100.0, 30.0, 0.0, 90.0, 20.0, 1.0],
        alive_latents=[100, 90, 0, 95, 90, 10],
        d_sae=128,
        chosen=[False, True, False, False, False, False],
    )

"""Adaptation in print: methods by their names, no gain for the frozen model, every seed a dot."""

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.adaptation.draw import GROUPS, accuracies
from clip_sae.analyses.adaptation.render import accuracy_table

KINDS = {"none": "none", "coop": "coop", "maple": "maple", "maple_deep": "maple"}


@pytest.fixture
def table():
    rows = [
        {"dataset": "negative", "method": method, "group": group, "accuracy": 0.6 + 0.05 * i}
        for i, method in enumerate(KINDS)
        for group in GROUPS
    ]
    found = pd.DataFrame(rows).assign(n_seeds=3, n_images=100, sd=0.01)
    found = found.assign(gain=found["accuracy"] - 0.6)
    for name in ("accuracy", "gain"):
        found[f"{name}_low"], found[f"{name}_high"] = found[name] - 0.02, found[name] + 0.02
    return found


@pytest.fixture
def runs():
    return pd.DataFrame(
        [
            {"dataset": "negative", "method": method, "seed": seed} | dict.fromkeys(GROUPS, 0.6)
            for method in KINDS
            for seed in ([0] if method == "none" else [0, 1, 2])
        ]
    )


def test_the_table_prints_percent_and_no_gain_of_the_frozen_model(table, csv):
    text = accuracy_table(None, csv=csv(table), model="demo", shots=16, kinds=KINDS)
    lines = text.splitlines()
    [frozen] = [line for line in lines if "zero-shot | base" in line]
    [coop] = [line for line in lines if "CoOp | base" in line]
    assert frozen.split(" | ")[6] == "–"
    assert "65.0 [63.0, 67.0] | 5.0 [3.0, 7.0] | 1.0" in coop
    assert "Adaptation of demo with 16 images" in text


def test_the_figure_shows_every_method_in_every_group(table, runs, csv):
    figure = accuracies(None, accuracies=csv(table), runs=csv(runs), kinds=KINDS)
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(GROUPS.values())
    for ax in figure.axes:
        assert [t.get_text() for t in ax.get_xticklabels()][0] == "zero-shot"
        heights = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(heights, [0.6, 0.65, 0.7, 0.75])
        dots = [c for c in ax.collections if c.get_offsets().shape == (3, 2)]
        assert len(dots) == 3
    figure.canvas.draw()

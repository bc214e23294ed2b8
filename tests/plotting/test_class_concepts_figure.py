"""The curves of keeping and removing a class's latents: the figure, and the table of means."""

import pandas as pd
import pytest

from clip_sae.analyses.class_concepts import draw, render
from clip_sae.analyses.class_concepts.draw import MEAN

FACTS = {"model": "demo", "sae": "vanilla", "layer": 4, "threshold": 0.2, "random_seeds": 3}


@pytest.fixture
def table():
    rows = []
    for edit in ("keep_only", "remove"):
        for error in ("keep", "drop"):
            for latents in ("top", "other_class", "random"):
                for k in (0, 1, 10, 64) if latents == "top" else (1, 10):
                    for i, name in enumerate(("cat", "sun", MEAN)):
                        accuracy = 0.2 + 0.01 * k + 0.02 * i + 0.1 * (latents == "top")
                        row = {"edit": edit, "error": error, "latents": latents, "k": k}
                        row |= {"class": name, "n_images": 20 if i < 2 else 40}
                        row |= {"accuracy": accuracy, "accuracy_low": accuracy - 0.05}
                        row |= {"accuracy_high": accuracy + 0.05}
                        if latents == "top" and k in (1, 10):
                            row |= {"over_random": 0.1, "over_random_low": 0.08}
                            row |= {"over_random_high": 0.12}
                        rows.append(row)
    return pd.DataFrame(rows)


def test_each_choice_of_latents_is_a_curve_that_ends_with_all_of_them(table, csv):
    figure = draw.class_concepts(None, csv=csv(table))
    assert len(figure.axes) == 4
    [ax] = [ax for ax in figure.axes if ax.get_title("left") == draw.PANELS["keep_only", "drop"]]
    labels = [text for text in ax.get_legend_handles_labels()[1]]
    assert labels == ["the class's own", "another class's", "random alive ones"]
    curves = {line.get_label(): line for line in ax.get_lines()}
    for label in labels:
        k, accuracy = curves[label].get_data()
        assert list(k) == [1, 10, 64]  # no 0 on a logarithmic axis
        assert accuracy[-1] == pytest.approx(0.2 + 0.64 + 0.04 + 0.1)  # one run for all choices
    single = [line for line in ax.get_lines() if line.get_label().startswith("_")]
    assert len(single) == 2  # cat and sun


def test_the_table_is_of_means_with_controls_next_to_them(table, csv):
    text = render.class_concepts(None, csv=csv(table), **FACTS)
    lines = [line for line in text.splitlines() if line.startswith("| only k kept | dropped | 10")]
    [line] = lines
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[3:] == ["44.0 [39.0, 49.0]", "34.0 [29.0, 39.0]", "34.0 [29.0, 39.0]",
                         "10.0 [8.0, 12.0]"]  # fmt: skip
    [all_latents] = [
        row for row in text.splitlines() if row.startswith("| k taken out | stays | 64")
    ]
    assert all_latents.count("–") == 3  # every choice is the same there
    assert "mean over 2 classes, 40 images" in text

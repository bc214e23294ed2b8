"""The changes that adaptation makes, as a figure and as two tables."""

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.changes.crossings import BY_NAME
from clip_sae.analyses.changes.draw import ORDER, changes
from clip_sae.analyses.changes.render import share_tables

KINDS = {"mine": "coop", "deep": "maple"}
FACTS = {"model": "demo", "sae": "vanilla", "layer": 4, "strongest": 10, "kinds": KINDS}


@pytest.fixture
def tables():
    shares, classes, latents = [], [], []
    for dataset in ("drawn", "photos"):
        for m, method in enumerate(KINDS):
            for which in ("base", "novel"):
                for i, cell in enumerate(ORDER):
                    accuracy = 0.5 + 0.02 * i + 0.01 * m
                    share = np.nan if which == "novel" else i / 11
                    row = {"dataset": dataset, "method": method, "classes": which, "cell": cell}
                    row |= {"title": cell.replace("_", " "), "n_seeds": 3, "n_images": 700}
                    for name, value in (("accuracy", accuracy), ("share", share)):
                        row |= {name: value, f"{name}_low": value - 0.1}
                        row |= {f"{name}_high": value + 0.1}
                    shares.append(row)
                for seed in (0, 1):
                    group = {"dataset": dataset, "method": method, "classes": which, "seed": seed}
                    for c in ("cat", "sun"):
                        classes.append(
                            group
                            | {"class": c, "overlap": 0.4 + 0.2 * seed, "overlap_halves": 0.7}
                            | {"overlap_chance": 0.01, "activation_change": 0.2}
                            | {"map_change": 0.5}
                        )
                        for status in ("persists", "appears", "vanishes"):
                            latents.append(
                                group
                                | {"class": c, "latent": 1, "status": status}
                                | {"activation_before": 0.1, "activation_after": 0.3}
                                | {"map_before": 0.0, "map_after": -0.2}
                            )
    found = {"shares": shares, "classes": classes, "latents": latents}
    return {name: pd.DataFrame(rows) for name, rows in found.items()}


@pytest.fixture
def figure(tables, csv):
    return changes(None, **{name: csv(table) for name, table in tables.items()}, kinds=KINDS)


def test_every_crossing_has_a_position():
    assert set(ORDER) == set(BY_NAME) and len(ORDER) == len(BY_NAME)


def test_the_figure_has_four_panels_for_each_data_set(figure):
    assert len(figure.axes) == 8
    assert figure.axes[0].get_title("left") == "drawn: base classes"


def test_crossings_stand_in_one_order_a_colour_for_each_method(figure):
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        c.replace("_", " ") for c in ORDER
    ]
    assert ax.get_legend_handles_labels()[1] == ["CoOp", "MaPLe"]
    dots = [container.lines[0].get_data() for container in ax.containers]
    assert np.allclose(dots[0][0], 0.5 + 0.02 * np.arange(len(ORDER)))
    assert not np.allclose(dots[0][1], dots[1][1])  # next to each other


def test_latents_are_coloured_by_what_becomes_of_them(figure):
    ax = figure.axes[2]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "persists (16)", "appears (16)", "vanishes (16)"]  # fmt: skip
    assert np.allclose(ax.collections[0].get_offsets()[0], [0.2, -0.2])


def test_overlaps_have_halves_and_chance_next_to_them(figure):
    lines = {line.get_label(): line.get_ydata()[0] for line in figure.axes[3].get_lines()}
    assert lines["chance"] == pytest.approx(0.01)
    assert lines["two halves of the images, before (no ceiling)"] == pytest.approx(0.7)


def test_tables_give_no_unknown_share_and_spread_over_seeds(tables, csv):
    paths = {name: csv(tables[name]) for name in ("shares", "classes")}
    text = share_tables(None, **paths, **FACTS)
    [base] = [r for r in text.splitlines() if r.startswith("| drawn | base | old concepts new map")]
    [novel] = [r for r in text.splitlines() if r.startswith("| photos | novel | adapted")]
    i = ORDER.index("old_concepts_new_map")
    assert f"{100 * (0.5 + 0.02 * i):.1f} [" in base and f"| {100 * i / 11:.0f} [" in base
    assert novel.count("–") == 2  # both methods' shares
    assert "3 seeds, 700 images of either half" in text
    assert "is no ceiling" in text
    assert "tokens move less far (two thirds as far in the demo)" in text
    assert "| drawn | MaPLe | base | 0.50 [0.40, 0.60] |" in text

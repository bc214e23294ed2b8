"""Look-ups in the layer table, and the page of layer tables."""

import numpy as np
import pandas as pd
import pytest
import steering_synthetic as synthetic

from clip_sae.analyses.steering import render_layers as steering_layers
from clip_sae.analyses.steering.draw_shared import (
    KINDS,
    counted,
    hide_words,
    kinds_of,
    paper_value,
    reading,
    strength_name,
)
from clip_sae.plotting.tables import read_paper


@pytest.fixture(scope="module")
def layers():
    return synthetic.layer_table(synthetic.units(layers=(0, 11)))


@pytest.fixture
def paper(resources):
    return read_paper(resources / "paper" / "steering.csv")


def test_kinds_have_names_colours_and_markers_of_their_own():
    for part in range(3):
        assert len({kind[part] for kind in KINDS.values()}) == len(KINDS)


def test_kinds_come_in_one_order_and_odd_ones_are_told():
    table = pd.DataFrame({"kind": ["pca", "latent", "pca"], "label": ["a", "b", "a"]})
    assert kinds_of(table) == ["latent", "pca"]
    with pytest.raises(ValueError, match="the kind 'atom' is unknown; known kinds are latent, neu"):
        kinds_of(table.assign(kind="atom"))
    with pytest.raises(ValueError, match="the kind 'pca' of 2 labels: a, c; keep the rows of one"):
        kinds_of(table.assign(label=["a", "b", "c"]))


def test_a_reading_is_of_one_strength_and_threshold(layers):
    place = {"kind": "latent", "strength": 150.0}
    rows = reading(layers.iloc[::-1], "concept_coverage", **place, threshold=0.1 + 1e-12)
    assert rows.layer.tolist() == [0, 11]
    assert rows.threshold.tolist() == [0.1, 0.1]
    assert reading(layers, "concept_coverage", **place, threshold=0.2).empty
    limit = reading(layers, "mean_steerability", kind="latent", strength=np.inf)
    assert np.isinf(limit.strength).all()
    # as a CSV gives it back
    text = layers.assign(strength=layers.strength.map(str))
    pd.testing.assert_series_equal(
        reading(text, "concept_coverage", **place, threshold=0.1).value, rows.value
    )
    with pytest.raises(ValueError, match="n_perfect of latent at strength 150 stands twice"):
        reading(pd.concat([layers, layers]), "n_perfect", **place, threshold=0.9)
    with pytest.raises(ValueError, match="needs the column 'n_words'"):
        reading(layers.drop(columns="n_words"), "n_perfect", **place)


def test_numbers_and_strengths_are_written_out():
    row = pd.Series({"value": 1322.0, "low": 1290.4, "high": 1350.0, "n_units": 12000})
    assert counted(row) == "1,322 [1,290, 1,350] of 12,000 (11.0%)"
    row["low"] = np.nan
    assert counted(row) == "1,322 of 12,000 (11.0%)"
    assert (strength_name(150.0), strength_name(np.inf)) == ("s = 150", "s → ∞")


def test_masked_words_are_hidden_whatever_their_case():
    assert hide_words(["Sand", "Desert"], ["sand"]) == ["•••", "Desert"]


def test_the_papers_anchors_are_there(paper):
    assert paper_value(paper, "n_steerable", "latent").value == 1322
    assert paper_value(paper, "concept_coverage", "neuron").n_units == 192
    assert paper_value(paper, "n_steerable", "neuron") is None


def sections(layers, paper):
    names = {"model": "demo", "vocabulary": "the demo's words", "sampling": "first_sorted"}
    return steering_layers.sections(layers, paper, strength=150.0, gamma=0.1, **names)


def test_each_layer_and_kind_has_a_row_with_intervals_and_the_paper_follows(layers, paper):
    (table, layout), *_ = sections(layers, paper)
    assert table.units.tolist()[:4] == ["SAE latents", "neurons"] * 2
    assert table.units.tolist()[4:] == ["SAE latents, the paper's"] * 2 + ["neurons, the paper's"]
    ours = layers[(layers.quantity == "n_steerable") & (layers.strength == 150)].set_index(
        ["layer", "kind"]
    )
    assert table.n_steerable.iloc[2] == ours.value[11, "latent"]
    assert table.n_steerable_low.iloc[2] == ours.low[11, "latent"]
    assert table.n_steerable.iloc[4] == "1,322"
    assert table.n_perfect.iloc[4] == "≈ 100"
    assert table.coverage.iloc[5:].tolist() == ["≈ 550", "≈ 50"]
    assert "demo, the demo's words, 287 words, 32 images (first sorted)" in layout.caption


def test_thresholds_and_the_limit_stand_in_tables_of_their_own(layers, paper):
    _, (thresholds, layout), (limit, _) = sections(layers, paper)
    headers = [column.header for column in layout.columns]
    assert headers[1:6] == [f"S > {beta:g} (%)" for beta in (0.05, 0.1, 0.25, 0.5, 0.9)]
    assert headers[6] == "words, S > 0.05"
    assert len(thresholds) == len(limit) == 4
    of = layers[(layers.quantity == "mean_steerability") & (layers.kind == "neuron")]
    assert limit.mean_limit[1] == of[np.isinf(of.strength)].value.iloc[0]
    assert limit.mean_s[1] == of[of.strength == 150].value.iloc[0]


def test_rank_correlations_are_printed_where_they_were_measured(layers, paper):
    *_, (limit, layout) = sections(layers, paper)
    headers = [column.header for column in layout.columns]
    assert headers[-2:] == [
        "rank correlation of S with D_f",
        "with the spread around its own centroid",
    ]
    assert limit.dispersion_own.tolist() == [-0.8] * 4
    *_, (_, layout) = sections(layers[~layers.quantity.str.endswith("_correlation")], paper)
    assert layout.columns[-1].header == "words, S > 0.1, s → ∞"


def test_sizes_are_those_of_the_headline_strength(layers, paper):
    grid = layers[layers.strength == 150].assign(strength=-20.0, n_units=8)
    (table, _), *_ = sections(pd.concat([grid, layers]), paper)
    assert table.n.iloc[0] == "512"
    sampled = layers.assign(n_sampled_from=4096)
    (table, _), *_ = sections(sampled, paper)
    assert table.n.iloc[0] == "512 of 4,096"


def test_the_page_holds_three_tables_in_both_formats(layers, paper):
    tables = sections(layers, paper)
    text = steering_layers.render_markdown(tables)
    assert text.count("| --- |") == 3
    assert "| 11 | SAE latents, the paper's | 12,000 of 49,152 | – | – |" in text
    assert "‖μ_V‖ = 0.75" in text
    page = steering_layers.render_html(tables)
    assert page.count("<table>") == page.count("</table>") == 3
    assert "<title>Steerability by layer</title>" in page


def test_what_was_not_measured_is_a_dash(layers, paper):
    quiet = layers[~layers.quantity.isin(["n_perfect", "mu_v_norm", "d_f_rank_correlation"])]
    text = steering_layers.render_markdown(sections(quiet, paper))
    assert "‖μ_V‖ = –" in text
    assert "nan" not in text

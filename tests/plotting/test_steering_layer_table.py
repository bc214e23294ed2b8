"""Look-ups in the layer table, and the page of layer tables."""

import numpy as np
import pandas as pd
import pytest
import steering_synthetic as synthetic

from clip_sae.analyses.steering.draw_shared import kinds_of, paper_value, reading
from clip_sae.analyses.steering.render import steerability_layers


@pytest.fixture(scope="module")
def layers():
    return synthetic.layer_table(synthetic.units(layers=(0, 11)))


@pytest.fixture
def paper(resources):
    return resources / "paper" / "steering.csv"


def test_kinds_come_in_one_order_and_unknown_ones_are_refused():
    table = pd.DataFrame({"kind": ["pca", "latent", "pca"], "label": ["a", "b", "a"]})
    assert kinds_of(table) == ["latent", "pca"]
    with pytest.raises(ValueError, match="the kind 'atom' is unknown; known kinds are latent, neu"):
        kinds_of(table.assign(kind="atom"))
    with pytest.raises(ValueError, match="the kind 'pca' of 2 labels: a, c; keep the rows of one"):
        kinds_of(table.assign(label=["a", "b", "c"]))


def test_a_reading_is_of_one_strength_and_threshold(layers):
    own = {"kind": "latent", "strength": 150.0}
    rows = reading(layers.iloc[::-1], "concept_coverage", **own, threshold=0.1 + 1e-12)
    assert rows.layer.tolist() == [0, 11]
    assert rows.threshold.tolist() == [0.1, 0.1]
    assert reading(layers, "concept_coverage", **own, threshold=0.2).empty
    limit = reading(layers, "mean_steerability", kind="latent", strength=np.inf)
    assert np.isinf(limit.strength).all()
    # as a CSV gives it back
    text = layers.assign(strength=layers.strength.map(str))
    pd.testing.assert_series_equal(
        reading(text, "concept_coverage", **own, threshold=0.1).value, rows.value
    )
    with pytest.raises(ValueError, match="n_perfect of latent at strength 150 stands twice"):
        reading(pd.concat([layers, layers]), "n_perfect", **own, threshold=0.9)


def test_the_papers_anchors_are_there(paper):
    paper = pd.read_csv(paper)
    assert paper_value(paper, "n_steerable", "latent").value == 1322
    assert paper_value(paper, "concept_coverage", "neuron").n_units == 192
    assert paper_value(paper, "n_steerable", "neuron") is None


@pytest.fixture
def rendered(paper, csv):
    def render(layers):
        names = {"model": "demo", "vocabulary": "the demo's words", "sampling": "first_sorted"}
        levels = {"strength": 150.0, "gamma": 0.1}
        return steerability_layers(None, layers=csv(layers), paper=paper, **levels, **names)

    return render


def tables_of(text):
    """The page's tables as {column: cells}, each with its caption."""
    found = []
    for part in text.split("**")[2::2]:
        lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line[:1] == "|"]
        found.append(pd.DataFrame(lines[2:], columns=lines[0]))
    return found


def test_each_layer_and_kind_has_a_row_with_intervals_and_the_paper_follows(layers, rendered):
    text = rendered(layers)["md"]
    table, *_ = tables_of(text)
    assert table.Units.tolist()[:4] == ["SAE latents", "neurons"] * 2
    assert table.Units.tolist()[4:] == ["SAE latents, the paper's"] * 2 + ["neurons, the paper's"]
    ours = layers[(layers.quantity == "n_steerable") & (layers.strength == 150)].set_index(
        ["layer", "kind"]
    )
    n, low, high = ours.loc[(11, "latent"), ["value", "low", "high"]]
    assert table["S > 0.1"].iloc[2] == f"{n:.0f} [{low:.0f}, {high:.0f}]"
    assert table["S > 0.1"].iloc[4] == "1,322"
    assert table["S ≥ 0.9"].iloc[4] == "≈ 100"
    assert table["words, S > 0.1 (Eq. 8)"].iloc[5:].tolist() == ["≈ 550", "≈ 50"]
    assert table["n units"].tolist()[::4] == ["512", "12,000 of 49,152"]
    assert "demo, the demo's words, 287 words, 32 images (first sorted)" in text


def test_thresholds_and_the_limit_stand_in_tables_of_their_own(layers, rendered):
    pages = rendered(layers)
    _, thresholds, limit = tables_of(pages["md"])
    headers = thresholds.columns.tolist()
    assert headers[3:8] == [f"S > {beta:g} (%)" for beta in (0.05, 0.1, 0.25, 0.5, 0.9)]
    assert headers[8] == "words, S > 0.05"
    assert len(thresholds) == len(limit) == 4
    of = layers[(layers.quantity == "mean_steerability") & (layers.kind == "neuron")]
    for name, strength in (("s → ∞", np.inf), ("s = 150", 150)):
        value = of[of.strength == strength].value.iloc[0]
        assert limit[f"mean S, {name}"][1].startswith(f"{value:.3f} [")
    assert "‖μ_V‖ = 0.75" in pages["md"]
    assert pages["html"].count("<table>") == pages["html"].count("</table>") == 3
    assert "<title>Steerability by layer</title>" in pages["html"]


def test_rank_correlations_are_printed_if_they_were_measured(layers, rendered):
    *_, limit = tables_of(rendered(layers)["md"])
    last = "with the spread around its own centroid"
    assert limit.columns[-2:].tolist() == ["rank correlation of S with D_f", last]
    assert all(cell.startswith("-0.80") for cell in limit[last])
    *_, limit = tables_of(rendered(layers[~layers.quantity.str.endswith("_correlation")])["md"])
    assert limit.columns[-1] == "words, S > 0.1, s → ∞"


def test_sizes_are_those_of_the_headline_strength(layers, rendered):
    grid = layers[layers.strength == 150].assign(strength=-20.0, n_units=8)
    table, *_ = tables_of(rendered(pd.concat([grid, layers]))["md"])
    assert table["n units"].iloc[0] == "512"
    table, *_ = tables_of(rendered(layers.assign(n_sampled_from=4096))["md"])
    assert table["n units"].iloc[0] == "512 of 4,096"


def test_unmeasured_quantities_are_dashes(layers, rendered):
    quiet = layers[~layers.quantity.isin(["n_perfect", "mu_v_norm", "d_f_rank_correlation"])]
    text = rendered(quiet)["md"]
    assert "‖μ_V‖ = –" in text
    assert "nan" not in text

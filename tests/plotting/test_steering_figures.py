"""Figs 5, 6, 7 and 9 and their companions: what is drawn is what the tables say."""

import numpy as np
import pandas as pd
import pytest
import steering_synthetic as synthetic

from clip_sae.analyses.steering import draw_coverage as coverage
from clip_sae.analyses.steering import draw_curves as curves
from clip_sae.analyses.steering import draw_histogram as histograms
from clip_sae.analyses.steering import draw_words as words
from clip_sae.analyses.steering.draw_baselines import draw_baselines, plot_survival, survival
from clip_sae.analyses.steering.draw_dispersion import draw_dispersion
from clip_sae.analyses.steering.gathered_tables import steerability_counts
from clip_sae.plotting import theme
from clip_sae.plotting.tables import read_paper

LEVELS = {"strength": 150.0, "gamma": 0.1}


@pytest.fixture(scope="module")
def units():
    return synthetic.units(kinds=("latent", "neuron", "neuron_equal_push"))


@pytest.fixture(scope="module")
def layers(units):
    return synthetic.layer_table(units)


@pytest.fixture
def paper(resources):
    return read_paper(resources / "paper" / "steering.csv")


def texts(artist):
    return [text.get_text() for text in artist.get_texts()]


# --- Fig. 6: the histogram -----------------------------------------------------------------------


def counts(values, alive=True, strength=150.0):
    table = pd.DataFrame({"steerability": values, "alive": alive, "strength": strength})
    return steerability_counts(table.assign(layer=0, kind="latent", label="l"))


def test_a_value_on_an_edge_counts_below_it_so_that_above_gamma_is_strict():
    table = counts([0.0, 0.1, 0.1000001, 0.9, 1.0])
    assert table.n_units.sum() == 5
    assert table[table.s_low >= 0.1].n_units.sum() == 3
    assert table[table.s_high <= 0.1].n_units.tolist() == [1, 0, 0, 0, 1]
    assert (table.s_high.iloc[0], table.s_high.iloc[-1]) == (0.02, 1.0)


def test_all_groups_share_bins_that_reach_the_largest_value(units):
    high = units.assign(steerability=units.steerability.where(units.index != 3, 1.3))
    table = steerability_counts(high)
    groups = table.groupby(["layer", "kind", "label", "strength"])
    assert {tuple(rows.s_low) for _, rows in groups} == {tuple(np.round(np.arange(65) * 0.02, 10))}
    slow = high[(high.kind == "latent") & (high.layer == 1) & np.isinf(high.strength)]
    fast = table[(table.kind == "latent") & (table.layer == 1) & np.isinf(table.strength)]
    for _, row in fast.iterrows():
        above = (slow.steerability > row.s_low) | ((row.s_low == 0) & (slow.steerability == 0))
        inside = above & (slow.steerability <= row.s_high)
        assert (row.n_units, row.n_alive) == (inside.sum(), (inside & slow.alive).sum())


@pytest.mark.parametrize("bad", [np.nan, -0.1])
def test_an_impossible_steerability_is_refused(bad):
    with pytest.raises(ValueError, match=r"lies in \[0, 2\]; unit of kind latent at layer 0 has"):
        counts([0.2, bad])


def test_a_single_unit_can_be_seen_and_the_dead_lie_behind_the_living(ax):
    rows = counts([0.01, 0.01, 0.5], alive=[True, False, False])
    histograms.plot_histogram(rows, ax, gamma=0.1)
    everyone, alive = (patch.get_data() for patch in ax.patches)
    assert (everyone.values[0], everyone.values[24], everyone.values[30]) == (2, 1, 0.5)
    assert (alive.values[0], alive.values[24], alive.baseline) == (1, 0.5, 0.5)
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[0] == 0.5
    assert ax.lines[0].get_xdata() == [0.1, 0.1]


def test_figure_6_says_our_counts_and_the_papers(units, layers, paper, tmp_path):
    figure = histograms.draw_steerability(steerability_counts(units), layers, paper, **LEVELS)
    main, *small = figure.axes
    assert main.get_title("left") == "layer 2, s = 150"
    lines = main.texts[0].get_text().splitlines()
    n = ((units.steerability > 0.1) & (units.kind == "latent") & (units.layer == 2)
         & (units.strength == 150)).sum()  # fmt: skip
    assert lines[0].startswith(f"S > 0.1: {n} [")
    assert f"of 512 ({n / 512:.1%})" in lines[0]
    assert lines[1] == "paper, CLIP-ViT-B/32, layer 11: 1,322 of 12,000 (11.0%)"
    assert lines[3].endswith("about 100 of 12,000 (0.8%)")
    assert [ax.get_title("left").split(":")[0] for ax in small] == ["layer 0", "layer 1"]
    assert texts(main.get_legend())[-1] == "floor ‖P̄‖² = 0.021"
    theme.save(figure, tmp_path / "fig6.png", tmp_path / "fig6.svg")


def test_words_in_the_corner_stand_above_the_bars(units, layers, paper):
    many = pd.concat([units, *[units[units.steerability > 0.3]] * 40], ignore_index=True)
    figure = histograms.draw_steerability(steerability_counts(many), layers, paper, **LEVELS)
    figure.draw_without_rendering()
    main = figure.axes[0]
    box = main.texts[0].get_window_extent().transformed(main.transData.inverted())
    tallest = max(patch.get_data().values[5:].max() for patch in main.patches)
    assert box.y0 > tallest


def test_every_column_of_small_panels_has_an_axis_of_s(paper):
    units = synthetic.units(layers=range(9))
    table = steerability_counts(units)
    figure = histograms.draw_steerability(table, synthetic.layer_table(units), paper, **LEVELS)
    small = [ax for ax in figure.axes[1:] if ax.get_visible()]
    assert len(small) == 8
    assert [i for i, ax in enumerate(small) if ax.get_xlabel() == "S"] == [2, 3, 4, 5, 6, 7]


def test_figure_6_of_one_layer_and_its_refusals(units, layers, paper):
    one = steerability_counts(units[units.layer == 2])
    assert len(histograms.draw_steerability(one, layers, paper, **LEVELS).axes) == 1
    with pytest.raises(ValueError, match="no unit of kind 'latent' was steered with s = 20"):
        histograms.draw_steerability(one, layers, paper, strength=20, gamma=0.1)


# --- Fig. 7: words by layer and per unit ---------------------------------------------------------


def test_figure_7_draws_four_panels_and_the_papers_shares(layers, paper, tmp_path):
    figure = coverage.draw_coverage(layers, synthetic.rarefaction(layers), paper, **LEVELS)
    by_layer, share, by_level, by_unit = figure.axes
    found = layers[(layers.quantity == "concept_coverage") & (layers.kind == "latent")
                   & (layers.strength == 150) & (layers.threshold == 0.1)]  # fmt: skip
    assert by_layer.lines[0].get_ydata().tolist() == found.value.tolist()
    dashed = [line.get_ydata()[0] for line in by_layer.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed, [550 / 5000 * 287, 50 / 5000 * 287])
    assert by_layer.get_ylabel() == "words reached, of 287"
    assert by_level.lines[1].get_xdata().tolist() == [0.05, 0.1, 0.25, 0.5, 0.9]
    assert by_level.lines[1].get_ydata()[1] == layers[
        (layers.quantity == "concept_coverage") & (layers.kind == "neuron") & (layers.layer == 2)
        & (layers.strength == 150) & (layers.threshold == 0.1)
    ].value.item()  # fmt: skip
    assert by_unit.get_title("left") == "layer 2: coverage per unit, S > 0.1"
    assert share.get_title("left") == "share of units: S > 0.1 (solid), S > 0.9 (dotted)"
    lines = [line.get_linestyle() for line in share.lines if line.get_linestyle() != "None"]
    assert lines == ["-"] * 3 + [":"] * 3
    assert texts(figure.legends[0]) == [
        "SAE latents", "neurons", "neurons, equal push", "a quarter of the units measured",
        "paper, layer 11, a quarter of the units: 11% by latents, 1% by neurons",
    ]  # fmt: skip
    theme.save(figure, tmp_path / "fig7.png")


def test_figure_7_does_without_neurons(layers, paper):
    latents = layers[layers.kind == "latent"]
    curves = synthetic.rarefaction(latents)
    curves = pd.concat([curves, curves.assign(layer="all")])  # as the table has it
    figure = coverage.draw_coverage(latents, curves, paper, **LEVELS)
    assert texts(figure.legends[0])[0] == "SAE latents"
    assert texts(figure.legends[0])[-1].endswith("11% by latents")
    with pytest.raises(ValueError, match="no rarefaction curve is of layer 2; the table has all"):
        coverage.draw_coverage(latents, curves[curves.layer == "all"], paper, **LEVELS)


def test_the_diamond_stands_on_the_curve_at_a_quarter(ax):
    n = np.array([1, 4, 16, 64])
    table = {"kind": "latent", "label": "", "layer": 0, "n_units": n, "expected_coverage": n / 2}
    coverage.plot_rarefaction(
        pd.DataFrame(table | {"low": 0.0, "high": 40.0}), ax, kinds=["latent", "neuron"]
    )
    assert ax.lines[1].get_xydata().tolist() == [[16, 8]]


@pytest.mark.parametrize(("population", "face", "note"), [
    (512, "#0072B2", "bands: 95 % intervals over images"),
    (2048, "white", "(hollow: and over the choice of a sample of the units)"),
])  # fmt: skip
def test_samples_have_hollow_marks_and_a_note(layers, paper, ax, population, face, note):
    rows = layers[layers.kind == "latent"].assign(n_sampled_from=population)
    coverage.plot_by_layer(rows, ax, quantity="mean_steerability", strength=150.0, threshold=0.1,
                           kinds=["latent"])  # fmt: skip
    assert ax.lines[1].get_markerfacecolor() == face
    figure = coverage.draw_coverage(rows, synthetic.rarefaction(rows), paper, **LEVELS)
    assert note in figure.get_suptitle()


# --- Figs 5 and 9: along the strength ------------------------------------------------------------


def test_figure_5_draws_the_mean_over_images_and_marks_half(ax):
    traces = synthetic.traces()
    curves.plot_curves(traces.sample(frac=1, random_state=0), ax, gamma=0.1)
    solid, dotted, ring = ax.lines[:3]
    rows = traces[(traces.role == "perfect") & (traces.scope == "mean")].drop_duplicates("strength")
    np.testing.assert_allclose(solid.get_xydata(), rows[["strength", "steerability"]])
    np.testing.assert_allclose(dotted.get_xydata(), rows[["strength", "delta_p"]])
    assert ring.get_xdata() == [48.0]
    height = np.interp(48.0, rows.strength, rows.steerability)
    np.testing.assert_allclose(ring.get_ydata(), height)
    assert len(ax.lines) == 3 * 3 + 1


def test_a_latent_that_never_reaches_half_has_no_ring(ax):
    curves.plot_curves(synthetic.traces(("diffuse",)).assign(half_saturation=np.nan), ax, gamma=0.1)
    assert len(ax.lines) == 3


def test_figure_5_names_roles_in_order_and_hides_masked_words(tmp_path):
    traces = synthetic.traces(("diffuse", "named", "perfect"))
    figure = curves.draw_steering_curves(traces, gamma=0.1, mask=["SAND"])
    names = texts(figure.axes[0].get_legend())
    assert [name.split()[0] for name in names[:3]] == ["perfect", "diffuse", "named"]
    assert names[0] == "perfect (layer 5, latent 102)\n••• +0.97, desert +0.48, beach +0.24"
    assert "tree +0.17" in names[1]
    theme.save(figure, tmp_path / "fig5.png")


def test_unknown_roles_too_many_latents_and_missing_columns_are_told():
    traces = synthetic.traces(("perfect",))
    with pytest.raises(ValueError, match="the role 'odd' is unknown; roles are perfect, tight"):
        curves.traced_units(traces.assign(role="odd"))
    many = pd.concat([traces.assign(unit=unit, role="named") for unit in range(8)])
    with pytest.raises(ValueError, match="Fig. 5 tells 7 latents apart; 8 were given"):
        curves.draw_steering_curves(many, gamma=0.1)
    with pytest.raises(ValueError, match="needs the column 'scope'"):
        curves.traced_units(traces.drop(columns="scope"))


def test_the_asymptote_has_no_place_on_the_axis():
    traces = synthetic.traces(("perfect",))
    limit = traces[traces.strength == 150].assign(strength=np.inf)
    [(_, rows)] = curves.traced_units(pd.concat([traces, limit]))
    assert rows.strength.max() == 150


def test_figure_9_marks_the_three_likeliest_words_on_lines_of_all_that_are_followed(ax):
    probability = {"a": [0.9, 0.1], "b": [0.05, 0.2], "c": [0.03, 0.3], "d": [0.02, 0.4],
                   "e": [0.01, 0.05]}  # fmt: skip
    rows = pd.DataFrame(
        [{"scope": "mean", "strength": float(s), "word": word, "probability": p[s]}
         for s in (1, 0) for word, p in probability.items()]
    )  # fmt: skip
    top = words.top_words(rows)
    assert set(top[top.strength == 0].word) == {"a", "b", "c"}
    assert set(top[top.strength == 1].word) == {"b", "c", "d"}
    words.plot_words(rows, ax, colours=words.word_colours(top))
    whole, dots = ([line.get_ydata().tolist() for line in ax.lines[i::2]] for i in (0, 1))
    assert whole == [probability[word] for word in "abcd"]
    np.testing.assert_equal(dots, [[0.9, np.nan], [0.05, 0.2], [0.03, 0.3], [np.nan, 0.4]])


def test_words_that_gain_nothing_are_not_named():
    [(_, rows)] = curves.traced_units(synthetic.traces(("perfect",)))
    last = (rows.strength == 150) & (rows.scope == "mean")
    few = rows.assign(change=np.where(last & (rows.word != "dragon"), 0.004, rows.change))
    assert curves.promoted_words(few) == "dragon +0.97"
    assert curves.promoted_words(rows.assign(change=-0.2)) == "dragon -0.20"


def test_figure_9_has_a_row_per_latent_and_counts_the_words_without_a_colour(tmp_path):
    traces = synthetic.traces(("perfect", "tight"))
    # at each strength another word is likeliest: more words than colours
    order = {s: f"word{i}" for i, s in enumerate(synthetic.STRENGTHS)}
    first = traces.groupby(["unit", "strength", "scope"]).cumcount() == 0
    traces.loc[first, "word"] = traces.loc[first, "strength"].map(order)
    traces.loc[first, "probability"] = 0.99
    figure = words.draw_words_along_strength(traces, mask=["word9"])
    assert len(figure.axes) == 4
    assert figure.axes[0].get_title("left") == "perfect: layer 5, latent 100, the first image"
    assert figure.axes[3].get_title("left") == "mean over 32 images"
    legend = texts(figure.axes[1].get_legend())
    assert legend[-1] == "6 other words"
    assert len(legend) == 7
    theme.save(figure, tmp_path / "fig9.png")


# --- dispersion and baselines --------------------------------------------------------------------


def test_the_dispersion_scatter_draws_the_last_layer_and_prints_what_was_measured(
    units, layers, tmp_path
):
    figure = draw_dispersion(units, layers, strength=150.0)
    first, second, third, by_layer = figure.axes
    here = units[(units.kind == "latent") & (units.layer == 2) & (units.strength == 150)]
    dead, alive = first.collections
    assert len(dead.get_offsets()) == (~here.alive).sum()
    np.testing.assert_allclose(alive.get_offsets(), here.loc[here.alive, ["d_f", "steerability"]])
    assert first.get_title("left") == "ρ = 0.40 [0.38, 0.42]"
    assert second.get_title("left") == ""  # its correlation is not in the table
    assert third.get_title("left").startswith("ρ = -0.80")
    assert len(by_layer.get_legend_handles_labels()[1]) == 2
    theme.save(figure, tmp_path / "dispersion.svg")
    assert (tmp_path / "dispersion.svg").stat().st_size < 300_000
    with pytest.raises(ValueError, match="no unit of kind 'pca' was steered with s → ∞"):
        draw_dispersion(units, layers, strength=np.inf, kind="pca")


def test_survival_is_the_share_strictly_above_each_edge(ax):
    values = np.random.default_rng(0).beta(0.5, 3.0, 300)
    rows = counts(values)
    edges, share = survival(rows.sample(frac=1, random_state=0))
    inner = edges[1:]
    np.testing.assert_allclose(share[1:], [(values > edge).mean() for edge in inner])
    assert share[0] == 1
    plot_survival(rows, ax, kinds=["latent", "pca"])
    assert len(ax.lines) == 1
    assert (ax.lines[0].get_ydata() > 0).all()


def test_baselines_have_every_kind_with_its_number_at_the_last_layer(tmp_path):
    units = synthetic.units(layers=(0, 1), kinds=tuple(synthetic.SIZES))
    layers = synthetic.layer_table(units)
    curves = synthetic.rarefaction(layers)
    figure = draw_baselines(steerability_counts(units), layers, curves, **LEVELS)
    assert texts(figure.legends[0]) == [
        "SAE latents (512)", "neurons (64)", "neurons, equal push (64)", "PCA directions (64)",
        "random directions (128)", "latents of an untrained SAE (512)",
        "a quarter of the units measured",
    ]  # fmt: skip
    assert figure.axes[0].get_title("left") == "layer 1: share of units above S"
    assert [len(ax.lines) for ax in figure.axes] == [7, 24, 6, 12]
    figure.draw_without_rendering()
    percents = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert {"100 %", "1 %"} <= set(percents)
    theme.save(figure, tmp_path / "baselines.png")
    with pytest.raises(ValueError, match="no unit was steered with s = 5"):
        draw_baselines(steerability_counts(units), layers, curves, strength=5, gamma=0.1)

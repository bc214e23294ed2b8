"""Figs 5, 6, 7 and 9 and their companions: they draw the tables' numbers."""

import numpy as np
import pandas as pd
import pytest
import steering_synthetic as synthetic

from clip_sae.analyses.steering.draw import fig6, steerability_dispersion
from clip_sae.analyses.steering.draw_coverage import fig7, steerability_baselines
from clip_sae.analyses.steering.draw_traces import fig5, fig9
from clip_sae.analyses.steering.gathered_tables import steerability_counts
from clip_sae.plotting import theme

LEVELS = {"strength": 150.0, "gamma": 0.1}


@pytest.fixture(scope="module")
def units():
    return synthetic.units(kinds=("latent", "neuron", "neuron_equal_push"))


@pytest.fixture(scope="module")
def layers(units):
    return synthetic.layer_table(units)


@pytest.fixture
def paper(resources):
    return resources / "paper" / "steering.csv"


def entries(legend):
    return [text.get_text() for text in legend.get_texts()]


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


@pytest.fixture
def drawn6(layers, paper, csv):
    def draw(units, readings=layers, **levels):
        tables = {"histogram": csv(steerability_counts(units)), "layers": csv(readings)}
        return fig6(None, **tables, paper=paper, **(LEVELS | levels))

    return draw


def test_a_single_unit_can_be_seen_and_the_dead_lie_behind_the_living(drawn6):
    units = {"steerability": [0.01, 0.01, 0.5], "alive": [True, False, False], "strength": 150.0}
    [ax] = drawn6(pd.DataFrame(units).assign(layer=0, kind="latent", label="l")).axes
    everyone, alive = (patch.get_data() for patch in ax.patches)
    assert (everyone.values[0], everyone.values[24], everyone.values[30]) == (2, 1, 0.5)
    assert (alive.values[0], alive.values[24], alive.baseline) == (1, 0.5, 0.5)
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[0] == 0.5
    assert ax.lines[0].get_xdata() == [0.1, 0.1]


def test_figure_6_prints_our_counts_and_the_papers(units, drawn6, tmp_path):
    figure = drawn6(units)
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
    assert entries(main.get_legend())[-1] == "floor ‖P̄‖² = 0.021"
    theme.save(figure, tmp_path / "fig6.png", tmp_path / "fig6.svg")


def test_words_in_the_corner_stand_above_the_bars(units, drawn6):
    many = pd.concat([units, *[units[units.steerability > 0.3]] * 40], ignore_index=True)
    figure = drawn6(many)
    figure.draw_without_rendering()
    main = figure.axes[0]
    box = main.texts[0].get_window_extent().transformed(main.transData.inverted())
    tallest = max(patch.get_data().values[5:].max() for patch in main.patches)
    assert box.y0 > tallest


def test_every_column_of_small_panels_has_an_axis_of_s(drawn6):
    units = synthetic.units(layers=range(9))
    figure = drawn6(units, synthetic.layer_table(units))
    small = [ax for ax in figure.axes[1:] if ax.get_visible()]
    assert len(small) == 8
    assert [i for i, ax in enumerate(small) if ax.get_xlabel() == "S"] == [2, 3, 4, 5, 6, 7]


def test_figure_6_refuses_a_strength_without_units(units, drawn6):
    with pytest.raises(ValueError, match="no unit of kind 'latent' was steered with s = 20"):
        drawn6(units, strength=20)


# --- Fig. 7: words by layer and per unit ---------------------------------------------------------


@pytest.fixture
def drawn7(paper, csv):
    def draw(layers, curves=None):
        curves = synthetic.rarefaction(layers) if curves is None else curves
        tables = {"layers": csv(layers), "rarefaction": csv(curves)}
        return fig7(None, **tables, paper=paper, **LEVELS)

    return draw


def test_figure_7_draws_four_panels_and_the_papers_shares(layers, drawn7):
    figure = drawn7(layers)
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
    assert entries(figure.legends[0]) == [
        "SAE latents", "neurons", "neurons, equal push", "a quarter of the units measured",
        "paper, layer 11, a quarter of the units: 11% by latents, 1% by neurons",
    ]  # fmt: skip


def test_figure_7_does_without_neurons(layers, drawn7):
    latents = layers[layers.kind == "latent"]
    curves = synthetic.rarefaction(latents)
    curves = pd.concat([curves, curves.assign(layer="all")])  # as the table has it
    figure = drawn7(latents, curves)
    assert entries(figure.legends[0])[0] == "SAE latents"
    assert entries(figure.legends[0])[-1].endswith("11% by latents")
    with pytest.raises(ValueError, match="layer 2 has no rarefaction curve; the table has all"):
        drawn7(latents, curves[curves.layer == "all"])


def test_the_diamond_stands_on_the_curve_at_a_quarter(layers, drawn7):
    n = np.array([1, 4, 16, 64])
    table = {"kind": "latent", "label": "", "layer": 2, "n_units": n, "expected_coverage": n / 2}
    *_, by_unit = drawn7(layers, pd.DataFrame(table | {"low": 0.0, "high": 40.0})).axes
    assert by_unit.lines[1].get_xydata().tolist() == [[16, 8]]


@pytest.mark.parametrize(("population", "face", "note"), [
    (512, "#0072B2", "bands: 95 % intervals over images"),
    (2048, "white", "(hollow: and over the choice of a sample of the units)"),
])  # fmt: skip
def test_samples_have_hollow_marks_and_a_note(layers, drawn7, population, face, note):
    rows = layers[layers.kind == "latent"].assign(n_sampled_from=population)
    figure = drawn7(rows)
    assert figure.axes[0].lines[1].get_markerfacecolor() == face
    assert note in figure.get_suptitle()


# --- Figs 5 and 9: along the strength ------------------------------------------------------------


@pytest.fixture
def drawn(csv, tmp_path):
    """Draw Fig. 5 or 9 of a table of traces."""

    def draw(figure, traces, mask=(), **values):
        (tmp_path / "mask.txt").write_text("".join(f"{word}\n" for word in mask))
        return figure(None, traces=csv(traces), mask=tmp_path / "mask.txt", **values)

    return draw


def test_figure_5_draws_the_mean_over_images_and_marks_half(drawn):
    traces = synthetic.traces()
    [ax] = drawn(fig5, traces.sample(frac=1, random_state=0), gamma=0.1).axes
    solid, dotted, ring = ax.lines[:3]
    rows = traces[(traces.role == "perfect") & (traces.scope == "mean")].drop_duplicates("strength")
    np.testing.assert_allclose(solid.get_xydata(), rows[["strength", "steerability"]])
    np.testing.assert_allclose(dotted.get_xydata(), rows[["strength", "delta_p"]])
    assert ring.get_xdata() == [48.0]
    height = np.interp(48.0, rows.strength, rows.steerability)
    np.testing.assert_allclose(ring.get_ydata(), height)
    assert len(ax.lines) == 3 * 3 + 1


def test_a_latent_that_never_reaches_half_has_no_ring_and_the_limit_no_place(drawn):
    traces = synthetic.traces(("diffuse",)).assign(half_saturation=np.nan)
    limit = traces[traces.strength == 150].assign(strength=np.inf)
    [ax] = drawn(fig5, pd.concat([traces, limit]), gamma=0.1).axes
    assert len(ax.lines) == 3
    assert ax.lines[0].get_xdata().max() == 150


def test_figure_5_names_roles_in_order_and_hides_masked_words(drawn):
    traces = synthetic.traces(("diffuse", "named", "perfect"))
    figure = drawn(fig5, traces, ["SAND"], gamma=0.1)
    names = entries(figure.axes[0].get_legend())
    assert [name.split()[0] for name in names[:3]] == ["perfect", "diffuse", "named"]
    assert names[0] == "perfect (layer 5, latent 102)\n••• +0.97, desert +0.48, beach +0.24"
    assert "tree +0.17" in names[1]


def test_figure_5_refuses_unknown_roles_and_too_many_latents(drawn):
    traces = synthetic.traces(("perfect",))
    with pytest.raises(ValueError, match="the role 'odd' is unknown; roles are perfect, tight"):
        drawn(fig5, traces.assign(role="odd"), gamma=0.1)
    many = pd.concat([traces.assign(unit=unit, role="named") for unit in range(8)])
    with pytest.raises(ValueError, match="Fig. 5 has 7 colours for latents; 8 were given"):
        drawn(fig5, many, gamma=0.1)


def test_words_that_gain_nothing_are_not_named(drawn):
    traces = synthetic.traces(("perfect",))
    last = (traces.strength == 150) & (traces.scope == "mean")
    few = traces.assign(change=np.where(last & (traces.word != "dragon"), 0.004, traces.change))
    for table, words in ((few, "dragon +0.97"), (traces.assign(change=-0.2), "dragon -0.20")):
        legend = drawn(fig5, table, gamma=0.1).axes[0].get_legend()
        assert entries(legend)[0].splitlines()[1] == words


def test_figure_9_marks_the_three_likeliest_words_on_lines_of_all_that_are_followed(drawn):
    probability = {"a": [0.9, 0.1], "b": [0.05, 0.2], "null": [0.03, 0.3], "d": [0.02, 0.4],
                   "e": [0.01, 0.05]}  # fmt: skip
    traces = pd.DataFrame(
        [{"scope": scope, "strength": float(s), "word": word, "probability": p[s]}
         for scope in ("image0", "mean") for s in (1, 0) for word, p in probability.items()]
    ).assign(layer=0, unit=1, role="tight", n_images=32)  # fmt: skip
    *_, ax = drawn(fig9, traces).axes
    whole, dots = ([line.get_ydata().tolist() for line in ax.lines[i::2]] for i in (0, 1))
    assert whole == [probability[word] for word in ("a", "b", "d", "null")]
    np.testing.assert_equal(dots, [[0.9, np.nan], [0.05, 0.2], [np.nan, 0.4], [0.03, 0.3]])


def test_figure_9_has_a_row_per_latent_and_counts_the_words_without_a_colour(drawn):
    traces = synthetic.traces(("perfect", "tight"))
    # at each strength another word is likeliest: more words than colours
    order = {s: f"word{i}" for i, s in enumerate(synthetic.STRENGTHS)}
    first = traces.groupby(["unit", "strength", "scope"]).cumcount() == 0
    traces.loc[first, "word"] = traces.loc[first, "strength"].map(order)
    traces.loc[first, "probability"] = 0.99
    figure = drawn(fig9, traces, ["word9"])
    assert len(figure.axes) == 4
    assert figure.axes[0].get_title("left") == "perfect: layer 5, latent 100, the first image"
    assert figure.axes[3].get_title("left") == "mean over 32 images"
    legend = entries(figure.axes[1].get_legend())
    assert legend[-1] == "6 other words"
    assert len(legend) == 7


# --- dispersion and baselines --------------------------------------------------------------------


def test_the_dispersion_scatter_draws_the_last_layer_and_prints_what_was_measured(
    units, layers, csv, tmp_path
):
    figure = steerability_dispersion(None, units=csv(units), layers=csv(layers), strength=150.0)
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


def test_baselines_have_every_kind_with_its_number_at_the_last_layer(csv):
    units = synthetic.units(layers=(0, 1), kinds=tuple(synthetic.SIZES))
    layers = synthetic.layer_table(units)
    tables = {"histogram": csv(steerability_counts(units)), "layers": csv(layers),
              "rarefaction": csv(synthetic.rarefaction(layers))}  # fmt: skip
    figure = steerability_baselines(None, **tables, **LEVELS)
    assert entries(figure.legends[0]) == [
        "SAE latents (512)", "neurons (64)", "neurons, equal push (64)", "PCA directions (64)",
        "random directions (128)", "latents of an untrained SAE (512)",
        "a quarter of the units measured",
    ]  # fmt: skip
    assert figure.axes[0].get_title("left") == "layer 1: share of units above S"
    assert [len(ax.lines) for ax in figure.axes] == [7, 24, 6, 12]
    figure.draw_without_rendering()
    percents = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert {"100 %", "1 %"} <= set(percents)
    here = units[(units.layer == 1) & (units.kind == "latent") & (units.strength == 150)]
    edges, share = figure.axes[0].lines[0].get_data()
    np.testing.assert_allclose(share, [(here.steerability > edge).mean() for edge in edges])
    assert (share > 0).all()
    with pytest.raises(ValueError, match="no unit was steered with s = 5"):
        steerability_baselines(None, **tables, strength=5, gamma=0.1)

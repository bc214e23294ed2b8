"""The tables of a layer: planted latents are recovered exactly, and batches change nothing."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from clip_towers import images_of, sae_for
from torch.nn import functional as F

from clip_sae.analyses.shared.chunks import Chunks
from clip_sae.analyses.steering.layer_summary import Thresholds
from clip_sae.analyses.steering.layer_tables import (
    GRID_COLUMNS,
    LayerRun,
    SteeringSettings,
    n_chunks,
)
from clip_sae.analyses.steering.routes import Routes
from clip_sae.analyses.steering.steered_units import KINDS, latent_units, units_of
from clip_sae.analyses.steering.strength_curves import COLUMNS, choose_units, trace_units
from clip_sae.clip.head import Head
from clip_sae.clip.model import load_clip
from clip_sae.planning.scatter import share
from clip_sae.sae import Sae

STRENGTHS = (-20.0, 0.0, 5.0, 20.0, 150.0)
THRESHOLDS = Thresholds(gamma=0.1, beta=(0.1, 0.5, 0.9))
D = 12  # words, and width of the planted tower: word v is coordinate v


class Planted:
    """A tower of one layer whose embedding is the normed CLS itself."""

    architecture = SimpleNamespace(n_layers=1)
    head = Head(torch.ones(D), torch.zeros(D), 1e-5, torch.eye(D), cls_only=True)

    def run_from(self, x, layer):
        return F.layer_norm(x[:, 0], (D,))


def planted_routes(n_images=24, closed_form=True):
    """Return routes and tokens [image, token, D] that prefer none of the planted words."""
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(n_images, 3, D)
    x[..., 6:] = torch.randn(n_images, 3, 6, generator=generator)
    axes = torch.eye(D) - 1 / D
    text = F.normalize(axes, dim=-1)
    return Routes(Planted(), 0, x, text, 100.0, closed_form=closed_form), x


def planted_sae(groups):
    """Return an SAE whose latent j writes the axes of the words in groups[j] and never fires."""
    sae = Sae(D, len(groups), "vanilla", input_norm="none")
    rows = torch.zeros(len(groups), D)
    for row, words in zip(rows, groups, strict=True):
        row[list(words)] = 1
    sae.W_dec.copy_(F.normalize(rows, dim=-1))
    sae.b_enc.fill_(-100.0)
    return sae


@pytest.mark.parametrize("closed_form", [True, False])
def test_planted_latents_are_recovered_exactly(closed_form):
    """One word: S = 1 − 2P̄ + ‖P̄‖² and perfect; n words: 1/n of it; the whole residual: none."""
    routes, x = planted_routes(closed_form=closed_form)
    sae = planted_sae([(0,), (1,), (0, 1), (2, 3, 4, 5)])
    units = latent_units(x, sae, np.array([True, True, True, False]))
    settings = SteeringSettings(1e4, (0.0, 10.0, 1e4), THRESHOLDS, grid_units=None, resamples=200)
    words = [f"w{v}" for v in range(D)]
    tables = LayerRun(units, routes, words, settings, progress=False).tables()
    mean = routes.clean.double().mean(0).numpy()
    floor = float(np.square(mean).sum())
    for strength in ("10000.0", "inf"):
        rows = tables.units[tables.units.strength == strength]
        for row, group in zip(rows.itertuples(), ([0], [1], [0, 1], [2, 3, 4, 5]), strict=True):
            n = len(group)
            expected = 1 / n - 2 / n * mean[group].sum() + floor
            assert row.steerability == pytest.approx(expected, abs=1e-3)
            assert row.n_effective == pytest.approx(n, rel=1e-3)
            assert set(row.top_words.split("|")[:n]) == {f"w{v}" for v in group}
            assert row.asymptote_cosine == pytest.approx(1, abs=1e-3)
            assert row.steerability_floor == pytest.approx(floor)
            changes = [float(change) for change in row.top_changes.split("|")]
            assert changes[0] == pytest.approx(row.delta_p, rel=1e-3) and len(changes) == 10
        assert rows.alive.tolist() == [True, True, True, False]
    at = tables.units[tables.units.strength == "10000.0"]
    assert at.push.to_numpy() == pytest.approx(np.full(4, 1e4))
    limit = tables.units[tables.units.strength == "inf"]
    assert limit.push.isna().all() and (limit.asymptote_cosine == 1).all()
    layer = tables.layer[tables.layer.strength == "inf"].set_index(["quantity", "threshold"])
    assert layer.loc[("n_perfect", 0.9), "value"].item() == 2
    assert layer.loc[("concept_coverage", 0.9), "value"].item() == 2
    assert layer.loc[("n_steerable", 0.1), "value"].item() == 4
    counts = tables.layer[["n_units", "n_alive", "n_sampled_from", "n_images", "n_words"]]
    assert counts.drop_duplicates().to_numpy().tolist() == [[4, 3, 4, 24, D]]


def test_onset_and_half_saturation_of_a_planted_latent_lie_where_its_grid_says():
    routes, x = planted_routes()
    units = latent_units(x, planted_sae([(0,), (1,)]), np.ones(2, dtype=bool))
    strengths = tuple(np.linspace(0, 20, 81))
    settings = SteeringSettings(20.0, strengths, THRESHOLDS, grid_units=None, resamples=100)
    tables = LayerRun(units, routes, [str(v) for v in range(D)], settings, progress=False).tables()
    curve = tables.grid[tables.grid.unit == 0]
    row = tables.units[tables.units.unit == 0].iloc[0]
    before = curve[curve.strength.astype(float) < row.onset - 1e-9].steerability.max()
    after = curve[curve.strength.astype(float) > row.onset + 1e-9].steerability.iloc[0]
    assert before <= 0.1 < after
    assert row.onset < row.half_saturation < 20


@pytest.fixture(scope="module")
def tower(tiny):
    found = tiny.run_to(images_of(tiny, 5), [1])
    x = found["resid_post", 1]
    return tiny, x, sae_for(x), tiny.embed_text([f"word {i}" for i in range(12)])


def measure_tiny(tower, units=None, sequences=128, grid_units=None, **options):
    tiny, x, sae, text = tower
    units = latent_units(x, sae, np.ones(48, dtype=bool)) if units is None else units
    routes = Routes(tiny, 1, x, text, 20.0, sequences_per_batch=sequences)
    settings = SteeringSettings(150.0, STRENGTHS, THRESHOLDS, grid_units, resamples=100)
    words = [f"word {i}" for i in range(12)]
    return LayerRun(units, routes, words, settings, progress=False, **options).tables()


def test_batches_of_units_and_of_sequences_change_nothing(tower):
    whole = measure_tiny(tower, units_per_batch=48, grid_units=8)
    parts = measure_tiny(tower, sequences=3, units_per_batch=5, grid_units=8)
    for name in ("units", "layer", "grid"):
        one, two = getattr(whole, name), getattr(parts, name)
        loose = [column for column in one if column == "top_changes"]
        pd.testing.assert_frame_equal(one.drop(columns=loose), two.drop(columns=loose), atol=1e-4)


def test_a_sample_of_units_keeps_their_numbers_and_its_origin(tower):
    _, x, sae, _ = tower
    whole = measure_tiny(tower)
    units = units_of("latent", x, sae, lambda _: np.ones(48, dtype=bool), n=10, seed=4)
    assert len(units) == 10 and units.n_existing == 48 and (np.diff(units.ids) > 0).all()
    part = measure_tiny(tower, units)
    all_rows = whole.units.set_index(["unit", "strength"])
    for row in part.units.itertuples():
        expected = all_rows.loc[(row.unit, row.strength)]
        assert row.steerability == pytest.approx(expected.steerability, rel=1e-3)
        assert row.onset == pytest.approx(expected.onset, rel=1e-3, nan_ok=True)
    assert set(part.units.unit) == set(units.ids.tolist()) == set(part.grid.unit)
    assert (part.layer.n_units == 10).all() and (part.layer.n_sampled_from == 48).all()
    at = [
        tables.layer.query("strength == '150.0' and quantity == 'mean_steerability'").iloc[0]
        for tables in (whole, part)
    ]
    assert at[1].high - at[1].low > at[0].high - at[0].low


def test_the_grid_of_a_sample_states_its_size(tower):
    tables = measure_tiny(tower, grid_units=6)
    assert list(tables.grid.columns) == GRID_COLUMNS
    assert tables.grid.groupby("strength").unit.nunique().tolist() == [6] * len(STRENGTHS)
    ran = tables.units[tables.units.unit.isin(tables.grid.unit)]
    others = tables.units[~tables.units.unit.isin(tables.grid.unit)]
    assert others.onset.isna().all() and others.half_saturation.isna().all()
    assert ran.half_saturation.notna().any()
    n = tables.layer.groupby("strength").n_units.first()
    assert n.to_dict() == {"-20.0": 6, "0.0": 6, "5.0": 6, "20.0": 6, "150.0": 48, "inf": 48}
    assert (tables.layer.n_sampled_from == 48).all()


def test_without_a_grid_every_unit_is_measured_at_one_strength_and_the_limit(tower):
    tables = measure_tiny(tower, grid_units=0)
    assert len(tables.grid) == 0 and list(tables.grid.columns) == GRID_COLUMNS
    assert set(tables.layer.strength) == {"150.0", "inf"} == set(tables.units.strength)
    assert tables.units.onset.isna().all() and tables.units.half_saturation.isna().all()
    expected = measure_tiny(tower, grid_units=6).units.steerability
    np.testing.assert_allclose(tables.units.steerability, expected, rtol=1e-5)


def test_every_kind_of_unit_can_be_measured(tower):
    _, x, sae, _ = tower
    seen = []

    def alive(of):
        seen.append(of)
        return np.arange(len(of.W_dec)) % 2 == 0

    sizes = {}
    for kind in KINDS:
        units = units_of(kind, x, sae, alive, n=20, seed=0)
        assert units.kind == kind
        sizes[kind] = (len(units), units.n_existing)
        tables = measure_tiny(tower, units, grid_units=2)
        assert np.isfinite(tables.units.steerability).all()
    whole = {"latent": 48, "random_sae": 48, "random": 20}
    assert sizes == {kind: (20, whole.get(kind, 32)) for kind in KINDS}
    assert seen[0] is sae and seen[1] is not sae and len(seen) == 2
    assert len(units_of("random", x, sae, alive)) == 48
    with pytest.raises(ValueError, match="'head' do not exist; write latent, neuron"):
        units_of("head", x, sae, alive)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_tables(tower):
    tiny, x, sae, text = tower
    model = load_clip(tiny.source, device="cuda", precision="float32")
    on_gpu = measure_tiny((model, x.cuda(), sae_for(x).to("cuda"), text.cuda()), grid_units=8)
    expected = measure_tiny(tower, grid_units=8)
    columns = ["unit", "steerability", "steerability_printed", "d_f", "push", "asymptote_cosine"]
    pd.testing.assert_frame_equal(on_gpu.units[columns], expected.units[columns], atol=1e-3)


# --- traces ------------------------------------------------------------------------------------


def scored(rows):
    columns = ["unit", "steerability", "n_effective", "total_variation", "alive"]
    return pd.DataFrame(rows, columns=columns).assign(strength="150.0")


def test_chosen_units_are_alive_different_and_of_their_roles():
    table = scored(
        [
            (0, 0.99, 1.0, 0.99, False),  # dead
            (1, 0.95, 1.1, 0.98, True),
            (2, 0.40, 2.5, 0.9, True),
            (3, 0.30, 3.0, 0.9, True),
            (4, 0.05, 90.0, 0.8, True),
            (5, 0.02, 150.0, 0.3, True),
        ]
    )
    found = choose_units(table, strength="150.0", gamma=0.1)
    assert found == [(1, "perfect"), (2, "tight"), (4, "diffuse")]
    # without S below γ the least steerable unit is the diffuse one; no unit names a few words
    table = scored([(7, 0.95, 1.0, 0.9, True), (8, 0.5, 9.0, 0.9, True)])
    assert choose_units(table, strength="150.0", gamma=0.1) == [(7, "perfect"), (8, "diffuse")]
    assert choose_units(table.assign(alive=False), strength="150.0", gamma=0.1) == []


def test_a_trace_follows_its_words_and_agrees_with_the_grid(tower):
    tiny, x, sae, text = tower
    units = latent_units(x, sae, np.ones(48, dtype=bool))
    routes = Routes(tiny, 1, x, text, 20.0)
    words = [f"word {i}" for i in range(12)]
    chosen = [(7, "perfect"), (31, "diffuse")]
    level = {"strength": 150.0, "gamma": 0.1}
    traces = trace_units(units, routes, words, chosen, STRENGTHS, **level)
    assert list(traces.columns) == COLUMNS
    assert set(traces.scope) == {"image0", "mean"} and (traces.n_images == 5).all()
    per_curve = traces.groupby(["unit", "scope", "strength"]).word.nunique()
    assert (per_curve >= 3).all() and per_curve.groupby(["unit", "scope"]).nunique().eq(1).all()
    tables = measure_tiny(tower)
    grid = tables.grid[tables.grid.unit.isin([7, 31])].astype({"strength": float})
    joined = traces.merge(grid, on=["unit", "strength"], suffixes=("", "_grid"))
    np.testing.assert_allclose(joined.steerability, joined.steerability_grid, atol=1e-5)
    rows = tables.units[tables.units.strength == "150.0"].set_index("unit")
    for unit, part in traces.groupby("unit"):
        assert part.half_saturation.iloc[0] == pytest.approx(rows.half_saturation[unit], rel=1e-3)
    # the word on top of the unit's list is the one whose mean change is ΔP
    at = traces[(traces.unit == 7) & (traces.strength == 150.0) & (traces.scope == "mean")]
    top = at.loc[at.change.idxmax()]
    assert top.change == pytest.approx(top.delta_p, abs=1e-5)
    assert top.word == rows.top_words[7].split("|")[0]


def test_random_directions_are_always_a_sample(tower):
    """They are infinitely many, so intervals include the choice of directions."""
    _, x, sae, _ = tower
    widths = {}
    for kind in ("random", "pca"):
        units = units_of(kind, x, sae, None, n=None, seed=0)
        layer = measure_tiny(tower, units, grid_units=2).layer
        layer = layer[layer.strength == layer.strength.iloc[0]].set_index("quantity")
        widths[kind] = layer.loc["d_f_rank_correlation", "low"]
    assert np.isnan(widths["random"]) and np.isfinite(widths["pca"])


def test_a_layer_without_alive_latents_raises(tower):
    tiny, x, sae, text = tower
    units = latent_units(x, sae, np.zeros(48, dtype=bool))
    routes = Routes(tiny, 1, x, text, 20.0)
    with pytest.raises(ValueError, match="no latent of this layer is alive"):
        trace_units(units, routes, ["a"] * 12, [], STRENGTHS, strength=150.0, gamma=0.1)


def test_a_missing_unit_raises(tower):
    tiny, x, sae, text = tower
    units = latent_units(x, sae, np.ones(48, dtype=bool))
    routes = Routes(tiny, 1, x, text, 20.0)
    with pytest.raises(ValueError, match=r"units \[48\] do not exist; there are 48, numbered 0 to"):
        trace_units(
            units, routes, ["a"] * 12, [(48, "named")], STRENGTHS, strength=150.0, gamma=0.1
        )


@pytest.mark.parametrize("n", [1, 2, 5])
def test_units_measured_by_several_jobs_give_the_same_tables(tower, tmp_path, monkeypatch, n):
    """48 units in chunks of 20: parts in any order, one missing, one torn by a kill."""
    monkeypatch.setattr("clip_sae.analyses.steering.layer_tables.CHUNK_UNITS", 20)
    tiny, x, sae, text = tower
    units = latent_units(x, sae, np.arange(48) % 3 > 0)
    routes = Routes(tiny, 1, x, text, 20.0)
    settings = SteeringSettings(150.0, STRENGTHS, THRESHOLDS, grid_units=12, resamples=100)
    run = (units, routes, [f"word {i}" for i in range(12)], settings)
    whole = LayerRun(*run, progress=False).tables()
    chunks = Chunks(tmp_path / "blocks", {"dataset": "a"})
    for i in reversed(range(1, n + 1)):
        one = LayerRun(*run, chunks=chunks, progress=False)
        one.measure_chunks(share(n_chunks(48), f"{i}-of-{n}"))
    files = sorted(chunks.folder.glob("*.npz"))
    assert len(files) == 2 * 3
    files[0].unlink()
    files[3].write_bytes(files[3].read_bytes()[:100])
    split = LayerRun(*run, chunks=chunks, progress=False).tables()
    for table in ("units", "layer", "grid"):
        assert_same(getattr(whole, table), getattr(split, table))


def assert_same(a, b):
    pd.testing.assert_frame_equal(a, b, check_exact=True)

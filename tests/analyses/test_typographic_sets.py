"""Units that the two thresholds choose: slow twins, chains that grow, planted latents."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.shared.pairs import class_indices, read_pairs, read_rows
from clip_sae.analyses.shared.responses import Responses, measure_responses
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.analyses.typographic.candidates import (
    NO_CLOSURE,
    candidates,
    nearest_cosines,
    tau_grid,
)
from clip_sae.analyses.typographic.choose_typographic import best_of, choose, unit_table
from clip_sae.analyses.typographic.evaluate_typographic import random_units


def unit_rows(rng, n, d):
    rows = rng.normal(size=(n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_set(gap, directions, tau, lam):
    chosen = {j for j in range(len(gap)) if gap[j] > tau}
    joined = {
        j
        for j in range(len(gap))
        if any(min(float(directions[j] @ directions[m]), 1.0) > lam for m in chosen)
    }
    return chosen, sorted(chosen | joined)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 30),
    d=st.integers(2, 6),
    seed=st.integers(0, 10_000),
    lam=st.sampled_from([0.2, 0.5, 0.9, NO_CLOSURE]),
)
def test_sets_are_those_of_the_definition_and_chains_grow(n, d, seed, lam):
    rng = np.random.default_rng(seed)
    gap, directions = rng.normal(size=n), unit_rows(rng, n, d).astype(np.float32)
    gap[: n // 4] = gap[0]  # ties
    taus = [2.0, 0.5, 0.1, 0.01]
    [chain] = candidates(gap, directions, taus[::-1], [lam])
    before = set()
    for candidate, tau in zip(chain, taus, strict=True):
        chosen, expected = slow_set(gap, directions, tau, lam)
        assert candidate.tau == tau and candidate.lam == lam
        assert candidate.units.tolist() == expected
        assert candidate.n_selected == len(chosen)
        assert before <= set(expected)
        before = set(expected)
    [plain] = candidates(gap, directions, taus, [NO_CLOSURE])
    assert [len(c.units) for c in plain] == [c.n_selected for c in plain]


def test_nearest_cosine_of_an_empty_set_is_minus_one():
    near = nearest_cosines(np.array([0.5, 0.1]), np.eye(2), [1.0, 0.2])
    np.testing.assert_array_equal(near, [[-1, -1], [1, 0]])


def test_the_grid_is_log_spaced_from_large_to_small():
    np.testing.assert_allclose(tau_grid(1e-2, 1, 3), [1, 0.1, 0.01])
    with pytest.raises(ValueError, match="thresholds from 0 to 1 in 3 steps"):
        tau_grid(0, 1, 3)


def sweep_of(rows):
    columns = ["tau", "lambda", "n_units", "attacked_accuracy", "clean_accuracy"]
    return pd.DataFrame(rows, columns=columns)


EMPTY = (np.inf, 1.0, 0, 0.40, 0.99)


def test_the_choice_keeps_the_clean_accuracy():
    sweep = sweep_of([EMPTY, (0.1, 1.0, 5, 0.7, 0.981), (0.01, 1.0, 9, 0.9, 0.979)])
    assert choose(sweep, 0.01).n_units == 5
    assert choose(sweep, 0.02).n_units == 9
    assert choose(sweep, 0.0).n_units == 0, "the empty set can win"


def test_ties_go_to_fewer_units_then_larger_thresholds():
    rows = [EMPTY, (0.1, 0.4, 7, 0.7, 0.99), (0.3, 0.4, 5, 0.7, 0.99), (0.2, 0.6, 5, 0.7, 0.99)]
    assert choose(sweep_of(rows), 0.01).tau == 0.3
    rows += [(0.3, 0.6, 5, 0.7, 0.99)]
    assert choose(sweep_of(rows), 0.01)["lambda"] == 0.6
    assert choose(sweep_of([EMPTY, (0.1, 1.0, 5, 0.4, 0.99)]), 0.01).n_units == 0


def test_a_sweep_without_the_empty_set_is_refused():
    with pytest.raises(ValueError, match="no row of the empty set"):
        choose(sweep_of([(0.1, 1.0, 5, 0.7, 0.98)]), 0.01)


def test_best_of_several_recipes():
    rows = sweep_of([EMPTY, (0.1, 1.0, 5, 0.7, 0.99), (0.1, 1.0, 4, 0.7, 0.99)])
    assert best_of({"a": rows.loc[0], "b": rows.loc[1], "c": rows.loc[2]}) == "c"
    assert best_of({"z": rows.loc[1], "b": rows.loc[1]}) == "b"


def test_the_table_of_units_says_why_each_is_in():
    gap, near = np.array([0.5, 0.0, 0.9, 0.1]), np.array([1.0, 0.7, 1.0, 0.2])
    table = unit_table(gap, gap / 10, near, 0.2, 0.6)
    assert table["unit"].tolist() == [2, 0, 1]
    assert table["joined_by"].tolist() == ["tau", "tau", "lambda"]
    assert table["gap_se"].tolist() == pytest.approx([0.09, 0.05, 0])


def test_random_sets_hold_active_units_only_and_differ_by_seed():
    active = np.array([0, 0.1, 0, 1, 0.5, 0.2])
    sets = random_units(active, 2, 8)
    assert len(sets) == 8 and all(set(s) <= {1, 3, 4, 5} and len(s) == 2 for s in sets)
    assert len({tuple(s) for s in sets}) > 1
    assert [s.tolist() for s in random_units(active, 2, 8)] == [s.tolist() for s in sets]
    assert len(random_units(active, 99, 1)[0]) == 4


@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("kind", ["latents", "neurons"])
def test_responses_equal_a_loop_over_images(make_sae, tokens, kind):
    rng = np.random.default_rng(1)
    clean = rng.normal(size=(7, tokens, 6)).astype(np.float32)
    attacked = clean + rng.normal(size=clean.shape).astype(np.float32)
    sae = make_sae(input_norm="layer_norm")
    units = Latents(sae) if kind == "latents" else Neurons(6)

    def values(x):
        return sae.encode(torch.from_numpy(x)).latents.numpy() if kind == "latents" else x

    before, after = values(clean).mean(1), values(attacked).mean(1)
    found = measure_responses(
        units, torch.from_numpy(clean), torch.from_numpy(attacked), batch_images=3, progress=False
    )
    np.testing.assert_allclose(found.gap, (after - before).mean(0), atol=1e-6)
    se = (after - before).std(0, ddof=1) / np.sqrt(7)
    np.testing.assert_allclose(found.gap_se, se, atol=1e-5)
    fired = [(values(x) != 0).any(1).mean(0) for x in (clean, attacked)]
    np.testing.assert_allclose(found.active, (fired[0] + fired[1]) / 2, atol=1e-9)
    assert found.n_pairs == 7


def test_planted_word_latents_are_found(make_sae):
    """Attacked images are their twins plus two latents' directions; those two have the gap."""
    sae = make_sae(d_model=16, d_sae=16)
    sae.W_dec.copy_(torch.eye(16))
    sae.W_enc.copy_(torch.eye(16))
    sae.b_enc.zero_()
    sae.b_dec.zero_()
    rng = np.random.default_rng(0)
    clean = np.abs(rng.normal(size=(30, 1, 16))).astype(np.float32)
    attacked = clean.copy()
    attacked[..., [3, 11]] += 2
    found = measure_responses(
        Latents(sae), torch.from_numpy(clean), torch.from_numpy(attacked), progress=False
    )
    [chain] = candidates(found.gap, sae.W_dec.numpy(), [1.0, 1e-3], [NO_CLOSURE])
    assert [c.units.tolist() for c in chain] == [[3, 11], [3, 11]]
    assert found.gap[[3, 11]] == pytest.approx(2, abs=1e-6)


def test_one_pair_or_unequal_sides_are_refused():
    x = torch.zeros(1, 1, 6)
    with pytest.raises(ValueError, match="pairs are needed, at least two"):
        measure_responses(Neurons(6), x, x)
    with pytest.raises(ValueError, match=r"clean is \[2, 1, 6\], attacked \[1, 1, 6\]"):
        measure_responses(Neurons(6), torch.zeros(2, 1, 6), x)


def test_images_are_read_by_manifest_row_whatever_the_stores_order(make_store):
    rng = np.random.default_rng(0)
    order = rng.permutation(1200) + 50
    x = np.repeat(order[:, None, None], 3, axis=1).astype(np.float32) * np.ones((1, 1, 2))
    store = make_store(x, source_index=order)
    rows = rng.permutation(order)[:700]
    found = read_rows(store, rows, "all")
    assert found.shape == (700, 3, 2)
    np.testing.assert_array_equal(found[:, 0, 0], rows)
    assert read_rows(store, rows, "cls").shape == (700, 1, 2)
    with pytest.raises(ValueError, match="lacks 1 of the 2 requested images, e.g. manifest row 7"):
        read_rows(store, np.array([60, 7]), "cls")


def test_pairs_are_twins_whatever_the_order_of_store_and_manifest(make_store):
    """The value of each stored image names its manifest row, and the path names the pair."""
    paths = [f"{side}/{name}.png" for name in "abcd" for side in ("clean", "attacked")]
    manifest = pd.DataFrame({"path": paths, "split": "val", "status": "ok"})
    manifest["label_idx"] = [0, 0, 1, 1, 2, 2, 0, 0]
    manifest["word"] = ["", "y", "", "x", "", "x", "", "z"]
    manifest.loc[7, "status"] = "skipped"
    manifest = manifest.sample(frac=1, random_state=0)
    order = np.array([4, 6, 0, 3, 5, 1, 2])
    store = make_store(np.ones((7, 2, 3)) * order[:, None, None], source_index=order)
    classes = pd.DataFrame({"label": ["x", "y", "z"]})
    pairs = read_pairs(store, manifest, classes, "cls")
    assert pairs.clean.shape == (3, 1, 3)
    found = zip(
        pairs.clean[:, 0, 0].int().tolist(), pairs.attacked[:, 0, 0].int().tolist(),
        pairs.label.tolist(), pairs.word.tolist(), strict=True,
    )  # fmt: skip
    assert sorted(found) == [(0, 1, 0, 1), (2, 3, 1, 0), (4, 5, 2, 0)]
    assert class_indices(manifest.loc[[0, 1]], classes)[1].tolist() == [-1, 1]


def test_responses_are_saved_and_read_back(tmp_path):
    arrays = [np.arange(4.0) + i for i in range(4)]
    Responses(*arrays, n_pairs=9).save(tmp_path / "r.npz")
    again = Responses.load(tmp_path / "r.npz")
    assert again.n_pairs == 9
    for name, array in zip(("clean", "attacked", "gap_se", "active"), arrays, strict=True):
        np.testing.assert_array_equal(getattr(again, name), array)
    np.testing.assert_array_equal(again.gap, np.ones(4))

"""Eq. 9: group means in one pass, sets over a grid of thresholds, and random sets as controls."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.shared.contrast import (
    CONTRASTS,
    TOKENS,
    Contrast,
)
from clip_sae.analyses.shared.groups import Groups
from clip_sae.analyses.shared.named_records import read_records, write_records
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.unit_sets import (
    DIRECTIONS,
    chosen_units,
    matched_family,
    random_set,
    random_set_of_mass,
    threshold_family,
    threshold_grid,
)
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.analyses.suppression.measure_contrast import measure_contrasts

CPU = torch.device("cpu")


def groups_of(n, seed=0):
    rng = np.random.default_rng(seed)
    label, attribute = rng.integers(0, 2, (2, n))
    label[:4], attribute[:4] = [0, 0, 1, 1], [0, 1, 0, 1]
    return Groups(label, attribute)


def contrast_of(store, groups, units, tokens="all", batch=4):
    images = StoreImages(store, tokens=tokens, batch_images=batch)
    return measure_contrasts(images, groups, units, device=CPU, progress=False)


def by_hand(values, groups, tokens, contrast):
    """The gap of one kind of units from all its values [image, token, unit] at once."""
    part = {"all": slice(None), "patch": slice(1, None), "cls": slice(0, 1)}[tokens]
    mean = values[:, part].astype(np.float64).mean(1)
    a, y = groups.attribute, groups.label
    if contrast == "plain":
        return mean[a == 1].mean(0) - mean[a == 0].mean(0)
    within = [mean[(a == 1) & (y == k)].mean(0) - mean[(a == 0) & (y == k)].mean(0) for k in (0, 1)]
    return np.mean(within, axis=0)


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("contrast", CONTRASTS)
def test_streamed_gaps_are_those_of_all_values_at_once(store, sae, tokens, contrast):
    groups = groups_of(store.n_images)
    found = contrast_of(store, groups, {"sae": Latents(sae), "neurons": Neurons(6)})
    latents = sae.encode(torch.from_numpy(store.x)).latents.numpy()
    for name, values in (("sae", latents), ("neurons", store.x)):
        expected = by_hand(values, groups, tokens, contrast)
        assert np.allclose(found[name].gap(tokens, contrast), expected, atol=1e-6)


def test_mean_mass_and_alive(store, sae):
    groups = groups_of(store.n_images)
    sae.W_dec.mul_(3.0)  # rows need not have unit norm
    found = contrast_of(store, groups, {"sae": Latents(sae), "neurons": Neurons(6)})
    latents = sae.encode(torch.from_numpy(store.x)).latents.numpy().astype(np.float64)
    assert np.allclose(found["sae"].mean("all"), latents.mean((0, 1)), atol=1e-6)
    assert np.allclose(found["sae"].mass("patch"), 3 * latents[:, 1:].mean((0, 1)), atol=1e-5)
    assert np.allclose(found["neurons"].mass("cls"), np.abs(store.x[:, 0]).mean(0), atol=1e-6)
    assert np.array_equal(found["sae"].alive, (latents > 0).any((0, 1)))
    assert not found["sae"].alive[:2].any()  # two latents of this SAE never fire


def test_images_of_unknown_attribute_are_left_out(make_store, x, sae):
    groups = groups_of(len(x))
    some = np.arange(len(x)) != 5
    unknown = Groups(groups.label, np.where(some, groups.attribute, -1))
    loud = x.copy()
    loud[5] = 1000.0
    found = contrast_of(make_store(loud), unknown, {"sae": Latents(sae)})["sae"]
    rest = make_store(x[some], source_index=np.flatnonzero(some))
    expected = contrast_of(rest, groups, {"sae": Latents(sae)})["sae"]
    assert np.allclose(found.gap(), expected.gap(), atol=1e-9)
    assert np.array_equal(found.alive, expected.alive)


def test_last_layer_reads_cls_only_and_refuses_other_tokens(store, sae):
    groups = groups_of(store.n_images)
    found = contrast_of(store, groups, {"sae": Latents(sae)}, tokens="cls")["sae"]
    whole = contrast_of(store, groups, {"sae": Latents(sae)})["sae"]
    assert np.allclose(found.gap("cls"), whole.gap("cls"))
    with pytest.raises(ValueError, match="tokens: cls"):
        found.gap("all")


def test_contrast_says_what_it_lacks():
    n = np.array([3, 0, 2, 0])
    empty = Contrast(
        np.ones((4, 2)), np.ones((4, 2)), np.ones(2), np.ones(2), np.ones(2, bool), n, 4
    )
    with pytest.raises(ValueError, match="no training image is with the attribute"):
        empty.gap()
    with pytest.raises(ValueError, match="contrast: plain"):
        empty.gap(contrast="balanced")
    with pytest.raises(ValueError, match="'both' does not exist"):
        empty.gap(contrast="both")


def test_contrasts_survive_the_disk(tmp_path, store, sae):
    groups = groups_of(store.n_images)
    units = {"topk_resid/k-64": Latents(sae), "neurons": Neurons(6)}
    found = contrast_of(store, groups, units)
    write_records(tmp_path / "contrast.npz", found)
    again = read_records(tmp_path / "contrast.npz", Contrast)
    assert list(again) == list(found)
    for name, contrast in found.items():
        assert np.array_equal(again[name].gap("patch"), contrast.gap("patch"))
        assert np.array_equal(again[name].alive, contrast.alive)


gaps = st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=30).map(np.array)


@given(gaps, st.sampled_from(DIRECTIONS), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_sets_are_those_of_equation_9(gap, direction, n_taus):
    taus = threshold_grid(1e-3, 1.0, n_taus)
    family = threshold_family(gap, taus, direction)
    score = {"a": gap, "not_a": -gap, "both": np.abs(gap)}[direction]
    covered = {}
    for i in range(len(family)):
        for tau in taus:
            if family.tau_low[i] <= tau <= family.tau_high[i]:
                covered[tau] = set(family.units(i).tolist())
    assert covered == {tau: set(np.flatnonzero(score > tau).tolist()) for tau in taus}
    assert family.sizes[0] == 0 and family.tau_high[0] == float("inf")
    assert list(family.sizes) == sorted(set(family.sizes))  # each set once, nested


@given(gaps)
@settings(max_examples=30, deadline=None)
def test_both_is_the_union_of_the_directions_at_the_same_threshold(gap):
    for tau in (1e-3, 0.1, 0.7):
        a, not_a, both = (
            threshold_family(gap, [tau], direction).units(-1) for direction in DIRECTIONS
        )
        assert set(both) == set(a) | set(not_a) and not set(a) & set(not_a)


def test_the_grid_is_the_paper_s():
    grid = threshold_grid(1e-6, 1.0, 25)
    assert grid[0] == 1.0 and np.isclose(grid[-1], 1e-6) and len(grid) == 25
    assert np.allclose(np.diff(np.log10(grid)), -0.25)


def test_a_row_of_the_table_gives_its_units_again(store, sae):
    contrast = contrast_of(store, groups_of(store.n_images), {"sae": Latents(sae)})["sae"]
    gap = contrast.gap("patch", "plain")
    for direction in DIRECTIONS:
        family = threshold_family(gap, threshold_grid(1e-3, 1.0, 8), direction)
        for i in range(len(family)):
            row = {"tokens": "patch", "contrast": "plain", "direction": direction}
            units = chosen_units(contrast, row | {"n_units": family.sizes[i]})
            assert np.array_equal(units, family.units(i))


@given(gaps, gaps, st.sampled_from(DIRECTIONS))
@settings(max_examples=60, deadline=None)
def test_matched_sets_are_as_large_a_share_with_the_largest_gaps(gap, others, direction):
    family = threshold_family(gap, threshold_grid(1e-3, 1.0, 8), direction)
    matched = matched_family(family, len(gap), others)
    score = {"a": others, "not_a": -others, "both": np.abs(others)}[direction]
    assert matched.sizes[0] == 0 and matched.tau_high[0] == float("inf")
    assert list(matched.sizes) == sorted(set(matched.sizes))
    shares = [max(1, round(n * len(others) / len(gap))) for n in family.sizes if n]
    assert set(matched.sizes) == {0, *shares}
    for i, size in enumerate(matched.sizes):
        units = matched.units(i)
        assert len(units) == size
        rest = np.setdiff1d(np.arange(len(others)), units)
        if size and len(rest):
            assert score[units].min() >= score[rest].max()


def test_a_matched_set_keeps_the_thresholds_of_those_it_stands_for():
    gap = np.array([0.9, 0.5, 0.45, 0.05])
    family = threshold_family(gap, [0.7, 0.47, 0.3, 0.01], "a")  # 1, 2, 3 and 4 of 4 units
    matched = matched_family(family, 4, np.array([2.0, 1.0]))  # of 2: 1, 1, 2, 2
    assert matched.sizes == (0, 1, 2)
    assert matched.tau_high == (float("inf"), 0.7, 0.3) and matched.tau_low[1:] == (0.47, 0.01)


# --- controls ------------------------------------------------------------------------------------


@given(st.integers(0, 1000), st.integers(0, 12))
@settings(max_examples=40, deadline=None)
def test_random_sets_have_the_size_and_come_from_the_pool(seed, n):
    pool = np.arange(0, 40, 3)
    units = random_set(pool, n, np.random.default_rng(seed))
    assert len(units) == n and set(units) <= set(pool) and (np.diff(units) > 0).all()


@given(st.integers(0, 1000), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_random_sets_of_mass_match_it_within_their_tolerance(seed, n):
    rng = np.random.default_rng(seed)
    mass = rng.exponential(size=200) + 1e-3
    target = mass[rng.choice(200, n, replace=False)].sum()
    units = random_set_of_mass(np.arange(200), mass, target, rng)
    # One very small unit can be matched by hardly any other; several always can.
    assert units is not None or n < 3
    if units is not None:
        assert abs(mass[units].sum() - target) <= 0.05 * target
        assert len(set(units)) == len(units)


def test_random_masses_lie_on_both_sides_of_their_target():
    rng = np.random.default_rng(0)
    mass = rng.exponential(size=200) + 1e-3
    target = mass[:30].sum()
    sums = [mass[random_set_of_mass(np.arange(200), mass, target, rng)].sum() for _ in range(100)]
    assert abs(np.mean(sums) / target - 1) < 0.01


def test_a_mass_that_cannot_be_matched_gives_none():
    mass = np.array([10.0, 10.0, 0.1])
    assert random_set_of_mass(np.arange(3), mass, 5.0, np.random.default_rng(0)) is None

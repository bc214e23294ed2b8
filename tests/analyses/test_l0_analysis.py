"""L0 per position and layer: hand-made activity in, slow twins and the paper's claims out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.l0.measure import (
    beside_gpt2,
    centre_masks,
    image_l0,
    l0_by_layer,
    l0_by_token,
)
from clip_sae.analyses.shared.activity import LatentActivity


def activity(l0, norm=None):
    l0 = np.asarray(l0, dtype=np.int32)
    norm = l0 if norm is None else norm
    nothing = np.zeros(4, dtype=np.int64)
    return LatentActivity(
        l0, np.asarray(norm, dtype=np.float32), nothing, nothing, 100 + np.arange(len(l0))
    )


def random_activity(n_images=40, side=7, seed=0):
    rng = np.random.default_rng(seed)
    l0 = rng.poisson(50, (n_images, 1 + side * side))
    return activity(l0, l0 * rng.gamma(20, 1 / 20, l0.shape))


def centred_activity(inner=30, ring=20, between=25):
    inside, outside = centre_masks(7)
    grid = np.where(inside, inner, np.where(outside, ring, between)).ravel()
    return activity(np.r_[3, grid] + np.zeros((5, 1)))


def test_positions_are_row_major_with_cls_apart():
    table = l0_by_token(random_activity(), layer=4)
    cls, first, last = table.iloc[0], table.iloc[1], table.iloc[-1]
    assert (cls.token_type, cls.patch, cls.row, cls.column) == ("cls", -1, -1, -1)
    assert (first.token, first.patch, first.row, first.column) == (1, 0, 0, 0)
    assert (last.token, last.patch, last.row, last.column) == (49, 48, 6, 6)
    assert table.loc[table.patch == 9, ["row", "column"]].to_numpy().tolist() == [[1, 2]]
    assert set(table.layer) == {4}


def test_patches_must_fill_a_square():
    with pytest.raises(ValueError, match="6 patches do not fill a square grid"):
        l0_by_token(activity(np.ones((2, 7))), layer=0)


def test_moments_and_boxes_equal_a_loop():
    measured = random_activity()
    measured.l0[0, 5] = 1000  # an outlier the whisker must not reach
    table = l0_by_token(measured, layer=0)
    for token in range(50):
        values, row = measured.l0[:, token], table.iloc[token]
        q25, median, q75 = np.percentile(values, [25, 50, 75])
        kept = [v for v in values if q25 - 1.5 * (q75 - q25) <= v <= q75 + 1.5 * (q75 - q25)]
        assert row.mean_l0 == pytest.approx(values.mean())
        assert row.sd_l0 == pytest.approx(values.std(ddof=1))
        assert (row.q25, row["median"], row.q75) == (q25, median, q75)
        assert (row.whisker_low, row.whisker_high) == (min(kept), max(kept))
        assert (row.min_l0, row.max_l0) == (values.min(), values.max())
        assert row.n_outliers == len(values) - len(kept)
    assert table.iloc[5].whisker_high < 1000 == table.iloc[5].max_l0


def test_one_image_has_no_spread():
    assert l0_by_token(activity(np.ones((1, 5))), layer=0).sd_l0.isna().all()


def test_centre_bias_is_the_stated_ratio():
    row = l0_by_layer(centred_activity(), layer=2).iloc[0]
    mean = (9 * 30 + 24 * 20 + 16 * 25) / 49
    assert row.patch_l0 == pytest.approx(mean)
    assert row.centre_bias == pytest.approx((30 - 20) / mean)
    # No spread over images, so no width.
    assert row.centre_bias_low == pytest.approx(row.centre_bias_high)
    assert (row.cls_l0, row.n_images, row.layer) == (3, 5, 2)


def test_a_flat_map_has_no_centre_bias_and_no_tie_to_the_norm():
    row = l0_by_layer(activity(np.full((4, 50), 64), np.random.rand(4, 50)), layer=0).iloc[0]
    assert row.centre_bias == 0
    assert np.isnan([row.norm_correlation, row.norm_correlation_within_image]).all()


@pytest.mark.parametrize(("side", "inner"), [(7, 3), (14, 6), (16, 6), (3, 1), (4, 2)])
def test_the_inner_square_is_centred(side, inner):
    inside, ring = centre_masks(side)
    assert inside.sum() == inner**2
    np.testing.assert_array_equal(inside, inside[::-1, ::-1])
    assert ring.sum() == 4 * side - 4
    assert not (inside & ring).any()


def test_intervals_hold_the_estimate_and_shrink_with_images():
    few = l0_by_layer(random_activity(20), layer=0).iloc[0]
    many = l0_by_layer(random_activity(2000), layer=0).iloc[0]
    for name in ("patch_l0", "cls_l0", "centre_bias", "norm_correlation_within_image"):
        assert few[f"{name}_low"] <= few[name] <= few[f"{name}_high"]
        width = [r[f"{name}_high"] - r[f"{name}_low"] for r in (few, many)]
        assert width[1] < width[0] / 5


def test_l0_that_follows_the_norm_correlates_fully():
    rng = np.random.default_rng(0)
    l0 = rng.permuted(np.tile(np.arange(50), (6, 1)), axis=1)
    row = l0_by_layer(activity(l0, np.exp(l0 / 10.0)), layer=0).iloc[0]
    assert row.norm_correlation == pytest.approx(1)
    assert row.norm_correlation_within_image == pytest.approx(1)
    assert row.norm_correlation_map > 0.8  # means of exp, so not exactly 1


def test_norm_correlation_within_an_image_ignores_levels_between_images():
    l0 = np.r_[[1, 1, 2, 3, 4], [10, 10, 20, 30, 40]].reshape(2, 5)
    norm = np.r_[[1, 4, 3, 2, 1], [100, 400, 300, 200, 100]].reshape(2, 5)
    row = l0_by_layer(activity(l0, norm), layer=0).iloc[0]
    assert row.norm_correlation_within_image == pytest.approx(-1)
    assert row.norm_correlation > 0


def gpt2():
    pre = pd.DataFrame({"layer": range(12), "hook": "resid_pre", "l0": 10.0 * np.arange(12)})
    return pd.concat([pre, pd.DataFrame({"layer": [11], "hook": ["resid_post"], "l0": [777.0]})])


def test_gpt2_is_matched_at_the_same_point_of_the_residual_stream():
    table = pd.DataFrame({"layer": [11, 0, 5], "patch_l0": 120.0, "cls_l0": [800.0, 5.0, 59.0]})
    joined = beside_gpt2(table, gpt2())
    assert joined.layer.tolist() == [0, 5, 11]
    assert joined.gpt2_l0.tolist() == [10, 60, 777]  # resid_pre 1, resid_pre 6, resid_post 11
    assert joined.patch_over_gpt2.tolist() == pytest.approx([12, 2, 120 / 777])
    assert joined.cls_crosses_gpt2.tolist() == [False, False, True]


def test_a_deeper_model_has_no_gpt2_partner_and_crossing_is_marked_once():
    table = pd.DataFrame({"layer": [0, 1, 12], "patch_l0": 1.0, "cls_l0": [50.0, 50.0, 5.0]})
    joined = beside_gpt2(table, gpt2())
    assert joined.cls_crosses_gpt2.tolist() == [True, False, False]
    assert np.isnan(joined.gpt2_l0.iloc[2])


def test_one_image_map_and_its_refusal():
    measured = random_activity(3)
    table = image_l0(measured, 1, layer=2)
    np.testing.assert_array_equal(table.l0, measured.l0[1])
    assert set(table.source_index) == {101}
    with pytest.raises(ValueError, match="image 3 was not measured; rows 0 to 2 were"):
        image_l0(measured, 3, layer=2)


def test_the_shipped_gpt2_table_is_the_cited_one():
    table = pd.read_csv(Path(__file__).parents[2] / "workflow/resources/gpt2_l0.csv")
    pre = table[table.hook == "resid_pre"]
    assert pre.l0.tolist() == [10, 10, 18, 23, 31, 41, 51, 54, 60, 70, 52, 56]
    assert table[table.hook == "resid_post"][["layer", "l0"]].to_numpy().tolist() == [[11, 70]]
    assert table.source.str.contains("gpt2-small-res-jb").all()

"""The scores of the sweep and the rule that keeps one SAE of it."""

import numpy as np
import pandas as pd
import pytest
import torch

from clip_sae.analyses.shared.reconstruction import reconstruction_table
from clip_sae.analyses.sweep.measure import choose_sweep_point, held_out_quality


def sweep():
    return pd.DataFrame(
        {
            "explained_variance": [0.99, 0.9, 0.9, 0.95, float("nan")],
            "l0": [500.0, 40.0, 30.0, 20.0, 1.0],
            "alive_latents": [100, 90, 90, 10, 100],
            "d_sae": 100,
        },
        index=[7, 8, 9, 10, 11],
    )


def test_the_best_allowed_point_wins_and_ties_go_to_the_sparser():
    # 0.99 is too dense, 0.95 has too few latents alive.
    chosen = choose_sweep_point(sweep(), max_l0=64)
    assert chosen.index[chosen.chosen].tolist() == [9]


def test_no_allowed_point_says_what_there_is():
    with pytest.raises(ValueError, match=r"l0 ≤ 10 and 50% .* l0 runs from 1 to 500"):
        choose_sweep_point(sweep(), max_l0=10)


def test_the_quick_score_equals_the_table_of_the_whole_evaluation(
    store, sae, make_clip, make_store, x
):
    row = reconstruction_table(
        {"sae": sae}, make_clip(6, 4), store, np.zeros(11), [], layer=0, progress=False
    ).iloc[0]
    for batch_images in (3, 64):
        score = held_out_quality(store, sae, batch_images=batch_images)
        assert score["explained_variance"] == pytest.approx(row.explained_variance)
        assert score["l0"] == pytest.approx(row.l0)
        for name in ("alive_latents", "dead_latents", "d_sae", "n_images", "n_tokens"):
            assert score[name] == row[name]


def test_a_diverged_sae_scores_nan(store, sae):
    sae.W_dec.fill_(torch.nan)
    assert np.isnan(held_out_quality(store, sae)["explained_variance"])

"""Attention heads ranked by what CLS looks at, and silenced while clean images keep their names."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.typographic.cls_attention import cls_attention, heads_of
from clip_sae.analyses.typographic.measure_heads import (
    box_elsewhere,
    box_share,
    choose_heads,
    embeddings_without_heads,
    rank_heads,
)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 31), st.integers(0, 31), st.integers(1, 32), st.integers(1, 32),
    st.sampled_from([4, 8]),
)  # fmt: skip
def test_shares_of_patches_count_pixels(left, top, width, height, patch):
    right, bottom = min(32, left + width), min(32, top + height)
    mask = np.zeros((32, 32))
    mask[top:bottom, left:right] = 1
    grid = 32 // patch
    slow = mask.reshape(grid, patch, grid, patch).mean((1, 3)).ravel()
    np.testing.assert_allclose(box_share((left, top, right, bottom), grid, patch), slow, atol=1e-12)


def test_the_matched_box_has_the_size_and_avoids_the_word():
    rng = np.random.default_rng(0)
    for _ in range(50):
        left, top = rng.integers(0, 40, 2)
        box = (int(left), int(top), int(left) + 14, int(top) + 9)
        x0, y0, x1, y1 = box_elsewhere(box, 56, rng)
        assert (x1 - x0, y1 - y0) == (14, 9) and x0 >= 0 and x1 <= 56 and y0 >= 0 and y1 <= 56
        assert x1 <= box[0] or x0 >= box[2] or y1 <= box[1] or y0 >= box[3]


def test_heads_are_ranked_by_attention_inside_minus_elsewhere(tiny):
    pixels = torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    boxes = [(0, 0, 8, 8)] * 4 + [(8, 8, 16, 16)] * 3
    table = rank_heads(tiny, [pixels[:4], pixels[4:]], boxes)
    attention = cls_attention(tiny, pixels)  # [image layer head token]
    for row in table.itertuples():
        inside = [attention[i, row.layer, row.head, 1 if i < 4 else 4] for i in range(7)]
        assert row.inside == pytest.approx(float(np.mean(inside)), rel=1e-4)
        assert row.score == pytest.approx(row.inside - row.elsewhere, abs=1e-6)
    assert table["score"].is_monotonic_decreasing
    assert sorted(zip(table["layer"], table["head"], strict=True)) == heads_of(tiny)
    with pytest.raises(ValueError, match="4 images but 7 boxes"):
        rank_heads(tiny, [pixels[:4]], boxes)


def test_heads_join_while_the_clean_accuracy_holds():
    ranked = pd.DataFrame({"layer": [0, 1, 2, 0], "head": [0, 0, 0, 1], "score": [4, 3, 2, -1.0]})
    cost = {(0, 0): 0.004, (1, 0): 0.05, (2, 0): 0.006}

    def accuracy(heads):
        return 0.9 - sum(cost[head] for head in heads)

    chosen, table = choose_heads(ranked, accuracy, 0.01, progress=False)
    assert chosen == [(0, 0), (2, 0)], "a head that costs too much is passed over"
    assert table["silenced"].tolist() == [True, False, True, False]
    assert table["clean_accuracy"].tolist()[:3] == pytest.approx([0.896, 0.846, 0.89])
    assert np.isnan(table["clean_accuracy"].iloc[3])
    assert choose_heads(ranked, accuracy, 0.01, max_heads=1, progress=False)[0] == [(0, 0)]


def test_embeddings_without_heads(tiny):
    pixels = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    clean = embeddings_without_heads(tiny, [pixels[:3], pixels[3:]], [])
    with torch.no_grad():
        expected = torch.cat([tiny.embed_images(part) for part in (pixels[:3], pixels[3:])])
    assert torch.equal(clean, expected)
    cut = embeddings_without_heads(tiny, [pixels], [(2, 0), (0, 1)])
    assert not torch.allclose(cut, expected)

"""Scores with paired intervals, the two protocols, and every combination of defences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from clip_sae.analyses.typographic.defences import (
    Defence,
    defence_rows,
    predict,
    score_defences,
    subset_mask,
    table2_defences,
)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 30), seed=st.integers(0, 1000), unattacked=st.booleans())
def test_scores_equal_a_loop(n, seed, unattacked):
    rng = np.random.default_rng(seed)
    label, word = rng.integers(0, 4, n), rng.integers(0, 4, n)
    if unattacked:
        word[rng.random(n) < 0.5] = -1
    called = {name: rng.integers(0, 4, n) for name in ("none", "a", "b", "ab")}
    rows = score_defences(
        called,
        label,
        word,
        baseline="none",
        interactions={"ab": ("a", "b")},
        rivals=["a"],
        n_resamples=50,
    )
    right = {name: np.mean([p == y for p, y in zip(x, label, strict=True)])
             for name, x in called.items()}  # fmt: skip
    for row in rows:
        x = called[row["defence"]]
        assert row["n_images"] == n and row["n_words"] == (word >= 0).sum()
        assert row["accuracy"] == pytest.approx(right[row["defence"]])
        assert row["gain"] == pytest.approx(right[row["defence"]] - right["none"])
        over = right[row["defence"]] - right["a"]
        expected = float("nan") if row["defence"] == "a" else over
        assert row["gain_over_a"] == pytest.approx(expected, nan_ok=True)
        fooled = [p == w for p, w in zip(x, word, strict=True) if w >= 0]
        if fooled:
            assert row["text_confusion"] == pytest.approx(np.mean(fooled))
        else:
            assert np.isnan(row["text_confusion"]) and np.isnan(row["text_confusion_low"])
        if row["defence"] == "ab":
            extra = right["ab"] - right["a"] - right["b"] + right["none"]
            assert row["interaction"] == pytest.approx(extra)
        else:
            assert np.isnan(row["interaction"])
    assert rows[0]["gain_low"] == rows[0]["gain_high"] == 0


def test_intervals_of_gains_are_paired():
    """Two defences that differ on every image alike have a gain without spread."""
    label = np.zeros(50, int)
    none = np.r_[np.zeros(20, int), np.ones(30, int)]
    [_, row] = score_defences(
        {"none": none, "better": np.zeros(50, int)}, label, label - 1, baseline="none"
    )
    assert row["accuracy_low"] == row["accuracy_high"] == 1
    assert row["gain_low"] < row["gain"] < row["gain_high"]
    same = score_defences({"none": none, "same": none}, label, label - 1, baseline="none")[1]
    assert same["gain_low"] == same["gain_high"] == 0
    assert same["accuracy_low"] < same["accuracy"] < same["accuracy_high"]


def test_unknown_baselines_subsets_and_no_images_are_refused():
    called = {"none": np.zeros(2, int)}
    with pytest.raises(ValueError, match="baseline 'dp' is not among the defences: none"):
        score_defences(called, np.zeros(2), np.zeros(2), baseline="dp")
    with pytest.raises(ValueError, match="subset is empty"):
        score_defences({"none": np.zeros(0)}, np.zeros(0), np.zeros(0), baseline="none")
    with pytest.raises(ValueError, match="subset 'some' does not exist"):
        subset_mask(np.zeros(2), "some")


def test_protocols_ask_over_all_classes_or_between_two():
    text = torch.eye(4)
    embeddings = torch.tensor([[0.1, 0.2, 0.9, 0.0], [0.6, 0.5, 0.9, 0.1], [0.1, 0.1, 0.9, 0.0]])
    label, word = torch.tensor([0, 0, 0]), torch.tensor([1, 1, -1])
    assert predict(embeddings, text, label, word, "all_classes").tolist() == [2, 2, 2]
    assert predict(embeddings, text, label, word, "two_way").tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="protocol 'both' does not exist"):
        predict(embeddings, text, label, word, "both")


DEFENCES = [
    Defence("none", "none", "none"),
    Defence("dp", "prefix", "none"),
    Defence("sae", "none", "latents"),
    Defence("dp+sae", "prefix", "latents"),
    Defence("co-trained", "prefix on ablated", "latents"),
]


@pytest.fixture
def sides():
    generator = torch.Generator().manual_seed(0)
    images = {name: F.normalize(torch.randn(12, 8, generator=generator), dim=-1)
              for name in ("none", "latents")}  # fmt: skip
    texts = {name: F.normalize(torch.randn(4, 8, generator=generator), dim=-1)
             for name in ("none", "prefix", "prefix on ablated")}  # fmt: skip
    return images, texts


def test_every_combination_protocol_and_subset_has_its_row(sides):
    label = np.arange(12) % 4
    word = np.where(np.arange(12) < 8, (label + 1) % 4, -1)
    table = defence_rows(
        *sides, DEFENCES, label, word, protocols=("all_classes", "two_way"), n_resamples=50
    )
    assert len(table) == 5 * 2 * 3
    one = table[(table["protocol"] == "all_classes") & (table["subset"] == "attacked")]
    assert (one["n_images"] == 8).all()
    for row in one.itertuples():
        scores = sides[0][row.image] @ sides[1][row.text].T
        right = (scores.argmax(-1).numpy() == label)[:8].mean()
        assert row.accuracy == pytest.approx(right)
    by_name = one.set_index("defence")
    assert np.isfinite(by_name.loc["dp+sae", "interaction"])
    assert np.isnan(by_name.loc["co-trained", "interaction"]), "its text side never stands alone"
    rest = table[(table["subset"] == "not_attacked") & (table["protocol"] == "all_classes")]
    assert (rest["n_images"] == 4).all() and rest["text_confusion"].isna().all()


def test_subsets_that_equal_all_or_are_empty_are_left_out(sides):
    label = np.arange(12) % 4
    table = defence_rows(*sides, DEFENCES, label, (label + 1) % 4, n_resamples=50)
    assert set(table["subset"]) == {"all", "attacked"} - {"attacked"}
    clean = defence_rows(*sides, DEFENCES, label, np.full(12, -1), n_resamples=50)
    assert set(clean["subset"]) == {"all"}


def test_a_rival_that_is_not_in_the_picture_is_no_attack(sides):
    label = np.arange(12) % 4
    options = {"protocols": ("two_way",), "n_resamples": 50}
    table = defence_rows(
        *sides, DEFENCES, label, (label + 1) % 4, written=np.zeros(12, bool), **options
    )
    assert set(table["subset"]) == {"all"}
    assert np.isfinite(table["text_confusion"]).all(), "how often the rival is named all the same"
    np.testing.assert_allclose(table["accuracy"] + table["text_confusion"], 1)


def test_table_2_has_every_random_set_and_heads_where_they_are_measured():
    images = ["none", "latents", "random_0", "random_1", "neurons"]
    names = ["none", "dp", "sae", "dp+sae", "dp on sae+sae", "neurons", "random_0", "random_1"]
    without, with_heads = table2_defences(images), table2_defences([*images, "heads"])
    assert [defence.name for defence in without] == names
    assert [defence.name for defence in with_heads] == [*names, "heads", "dp+heads"]
    assert without[0] == Defence("none", "none", "none")  # what gains are measured from
    assert {defence.image for defence in with_heads} == {*images, "heads"}

"""Class-level counts, and only or without a class's latents: identities and slow twins."""

import numpy as np
import pytest
import torch
from clip_towers import images_of, sae_for
from torch.nn import functional as F

from clip_sae.analyses.class_concepts.class_answers import (
    ClassBatch,
    answer_with_classes,
    class_orders,
    size_grid,
)
from clip_sae.analyses.class_concepts.class_table import MEAN, class_table
from clip_sae.analyses.shared.class_counts import (
    ClassCounter,
    ClassCounts,
    class_activation,
    read_class_counts,
    write_class_counts,
)
from clip_sae.analyses.shared.store_images import StoreImages

N_CLASSES, N_IMAGES, N_LATENTS = 3, 30, 48
NAMES = ["cat", "key", "sun"]
LAYERS = (0, 1, 2)


@pytest.fixture(scope="module")
def residuals(tiny):
    with torch.inference_mode():
        found = tiny.run_to(images_of(tiny, N_IMAGES), LAYERS)
    return {layer: found["resid_post", layer].clone() for layer in LAYERS}


@pytest.fixture(scope="module")
def text():
    generator = torch.Generator().manual_seed(3)
    return F.normalize(torch.randn(N_CLASSES, 8, generator=generator), dim=-1)


@pytest.fixture
def label():
    return np.random.default_rng(0).integers(0, N_CLASSES, N_IMAGES)


def counts_of(x, sae, label, make_store, **options):
    images = StoreImages(make_store(x), batch_images=7)
    return class_activation(images, label, sae, N_CLASSES, progress=False, **options)


# --- counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["vanilla", "topk"])
def test_counts_equal_a_slow_loop(residuals, label, make_store, architecture):
    x = residuals[1]
    sae = sae_for(x, architecture, k=6 if architecture == "topk" else None)
    found = counts_of(x, sae, label, make_store, threshold=0.3)
    f = sae.encode(x).latents.numpy()
    expected = np.zeros((N_CLASSES, N_LATENTS), dtype=int)
    for image in range(N_IMAGES):
        for token in range(x.shape[1]):
            expected[label[image]] += f[image, token] > 0.3
    assert np.array_equal(found.counts, expected)
    assert np.array_equal(found.n_images, np.bincount(label, minlength=N_CLASSES))
    assert np.array_equal(found.active, (f > 0).sum((0, 1)))


def test_latents_are_ranked_by_count_alive_before_dead():
    counts = np.array([[0, 0, 2, 0, 3], [0, 1, 0, 0, 0]])
    found = ClassCounts(counts, np.array([1, 1]), np.array([0, 1, 2, 1, 3]))
    assert found.ranked().tolist() == [[4, 2, 1, 3, 0], [1, 2, 3, 4, 0]]


def test_counts_depend_neither_on_order_nor_on_batches(residuals, label, make_store):
    x, order = residuals[1], np.random.default_rng(5).permutation(N_IMAGES)
    sae = sae_for(x)
    one = counts_of(x, sae, label, make_store)
    images = StoreImages(make_store(x[order], source_index=order), batch_images=4)
    two = class_activation(images, label, sae, N_CLASSES, progress=False)
    for name in ("counts", "n_images", "active"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_counts_come_back_from_their_file(residuals, label, make_store, tmp_path):
    found = counts_of(residuals[1], sae_for(residuals[1]), label, make_store)
    write_class_counts(tmp_path / "counts.npz", found)
    again = read_class_counts(tmp_path / "counts.npz")
    for name in ("counts", "n_images", "active"):
        assert np.array_equal(getattr(found, name), getattr(again, name)), name


def test_a_value_at_the_threshold_does_not_count():
    counter = ClassCounter(1, 2, threshold=0.25)
    counter.add(torch.tensor([[[0.25, 0.5], [0.0, 0.0]]]), np.array([0]))
    assert counter.result().counts.tolist() == [[0, 1]]
    assert counter.result().active.tolist() == [1, 1]


# --- orders ---------------------------------------------------------------------------------------


def planted_counts():
    counts = np.array([[5, 0, 9, 9, 0], [0, 3, 1, 0, 0], [0, 0, 0, 2, 0]])
    return ClassCounts(counts, np.array([4, 4, 4]), np.array([5, 3, 10, 11, 0]))


def test_orders_rank_by_count_and_controls_are_not_the_class_itself():
    orders = class_orders(planted_counts(), seeds=2, seed=1)
    kinds = [(order.kind, order.seed) for order in orders]
    assert kinds == [("top", -1), ("other_class", -1), ("random", 0), ("random", 1)]
    top, other, *random = (order.latents for order in orders)
    assert top[0].tolist() == [2, 3, 0, 1, 4]  # equal counts by number
    own = {tuple(row) for row in top}
    assert {tuple(row) for row in other} == own  # each class's latents once …
    assert not (other == top).all(1).any()  # … and none its own
    for drawn in random:
        assert (np.sort(drawn, axis=1) == np.arange(5)).all()
        assert (drawn[:, -1] == 4).all()  # the dead latent comes last
    assert not np.array_equal(*random)


# --- edits ----------------------------------------------------------------------------------------


def slow_edit(sae, x, label, order, size, edit, error):
    """Return the edited tokens, one image and one token at a time, in float64."""
    found = np.empty(x.shape)
    w_enc, w_dec = sae.W_enc.double().numpy(), sae.W_dec.double().numpy()
    b_enc, b_dec = sae.b_enc.double().numpy(), sae.b_dec.double().numpy()
    for image in range(len(x)):
        first = order[label[image]][:size]
        for token in range(x.shape[1]):
            t = x[image, token].double().numpy()
            mean, std = t.mean(), t.std(ddof=1)
            f = np.maximum(((t - mean) / (std + 1e-5) - b_dec) @ w_enc + b_enc, 0)
            kept = np.zeros_like(f)
            kept[first] = 1
            kept = kept if edit == "keep_only" else 1 - kept
            out = std * ((f * kept) @ w_dec + b_dec) + mean
            if error == "keep":
                out += t - (std * (f @ w_dec + b_dec) + mean)
            found[image, token] = out
    return found


def test_edits_equal_a_slow_twin(residuals, label):
    x = residuals[1][:6]
    sae, label = sae_for(x), label[:6]
    order = np.stack([np.random.default_rng(c).permutation(N_LATENTS) for c in range(N_CLASSES)])
    n = 0
    for edit, error, size, found in ClassBatch(sae, x, label).edited(order, [0, 1, 5, 20, 48]):
        expected = slow_edit(sae, x, label, order, size, edit, error)
        assert np.allclose(found.numpy(), expected, atol=2e-5), (edit, error, size)
        n += 1
    assert n == 5 * 4


@pytest.mark.parametrize("architecture", ["vanilla", "topk", "jumprelu"])
def test_keeping_all_and_removing_none_leave_the_base_bit_for_bit(residuals, label, architecture):
    x = residuals[1]
    sae = sae_for(x, architecture, k=6 if architecture == "topk" else None)
    base = {"keep": x, "drop": sae(x).x_hat}
    order = np.tile(np.arange(N_LATENTS), (N_CLASSES, 1))
    seen = 0
    for edit, error, size, found in ClassBatch(sae, x, label).edited(order, [0, 3, 48]):
        if (edit, size) in (("keep_only", 48), ("remove", 0)):
            assert torch.equal(found, base[error])
            seen += 1
        else:
            assert not torch.equal(found, base[error])
    assert seen == 4


# --- answers --------------------------------------------------------------------------------------


def answers_of(tiny, layer, x, text, label, sae, make_store, batch_images=8, sizes=(1, 5, 20, 48)):
    counts = counts_of(x, sae, label, make_store)
    images = StoreImages(make_store(x), batch_images=batch_images)
    orders = class_orders(counts, seeds=2)
    found = answer_with_classes(
        tiny, layer, text, images, label, sae, orders, list(sizes), progress=False
    )
    return found, orders


@pytest.mark.parametrize("layer", LAYERS)
def test_answers_equal_the_clean_model_without_removed_latents(
    tiny, layer, residuals, text, label, make_store
):
    x = residuals[layer]
    found, _ = answers_of(tiny, layer, x, text, label, sae_for(x), make_store)
    with torch.inference_mode():
        clean = (tiny.run_from(x, layer) @ text.T).argmax(-1).numpy() == label
    assert np.array_equal(found.clean, clean) and 0 < clean.sum() < len(clean)
    for run in (("keep_only", "keep", "top", -1, 48), ("remove", "keep", "top", -1, 0)):
        assert np.array_equal(found.right[found.runs.index(run)], clean)


def test_answers_equal_single_runs(tiny, residuals, text, label, make_store):
    x = residuals[1]
    sae = sae_for(x)
    found, orders = answers_of(tiny, 1, x, text, label, sae, make_store)
    assert len(set(found.runs)) == len(found.runs) == 4 * (5 + 3 * 3)
    assert found.right.std(axis=0).max() > 0  # the edits do change answers
    for order in orders:
        for edit in ("keep_only", "remove"):
            for error in ("keep", "drop"):
                edited = slow_edit(sae, x, label, order.latents, 5, edit, error)
                with torch.inference_mode():
                    logits = tiny.run_from(torch.from_numpy(edited).float(), 1) @ text.T
                run = found.runs.index((edit, error, order.kind, order.seed, 5))
                assert np.array_equal(found.right[run], logits.argmax(-1).numpy() == label)


def test_answers_do_not_depend_on_the_batch(tiny, residuals, text, label, make_store):
    x = residuals[1]
    one, _ = answers_of(tiny, 1, x, text, label, sae_for(x), make_store, batch_images=30)
    two, _ = answers_of(tiny, 1, x, text, label, sae_for(x), make_store, batch_images=3)
    assert one.runs == two.runs and np.array_equal(one.right, two.right)


def test_cls_alone_raises_where_other_tokens_matter(tiny, residuals, text, label, make_store):
    images = StoreImages(make_store(residuals[1]), tokens="cls")
    with pytest.raises(ValueError, match="other tokens of it reach the embedding"):
        answer_with_classes(
            tiny, 1, text, images, label, sae_for(residuals[1]), [], [1], progress=False
        )


def test_the_grid_of_sizes_is_ascending_and_within_the_sae():
    assert size_grid([10, 1, "all", 500, 48], 48) == [1, 10, 48]
    with pytest.raises(ValueError, match="within 1 to 48"):
        size_grid([100], 48)


# --- the table ------------------------------------------------------------------------------------


@pytest.fixture
def table(tiny, residuals, text, label, make_store):
    x = residuals[1]
    found, _ = answers_of(tiny, 1, x, text, label, sae_for(x), make_store)
    return found, class_table(found, NAMES, n_resamples=200)


def test_table_rows_are_means_of_answers(table):
    found, rows = table
    assert set(rows["class"]) == {*NAMES, MEAN}
    for _, row in rows[rows["class"] != MEAN].iterrows():
        own = found.label == NAMES.index(row["class"])
        key = (row["edit"], row["error"], row["latents"], row["k"])
        at = [i for i, run in enumerate(found.runs) if (*run[:3], run[4]) == key]
        right = found.right[at][:, own]
        assert row["accuracy"] == pytest.approx(right.mean()) and row["n_images"] == own.sum()
        assert row["change"] == pytest.approx(right.mean() - found.clean[own].mean())
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        if row["latents"] == "random":
            assert row["seed_low"] == pytest.approx(right.mean(1).min())
            assert row["seed_high"] == pytest.approx(right.mean(1).max())
    keys = ["edit", "error", "latents", "k"]
    means = rows[rows["class"] != MEAN].groupby(keys)["accuracy"].mean()
    whole = rows[rows["class"] == MEAN].set_index(keys)["accuracy"]
    assert np.allclose(means.sort_index(), whole.sort_index())


def test_the_classes_own_latents_are_compared_with_as_many_random_ones(table):
    _, rows = table
    keys = ["edit", "error", "k", "class"]
    top = rows[rows["latents"] == "top"].set_index(keys)
    random = rows[rows["latents"] == "random"].set_index(keys)["accuracy"]
    known = top["over_random"].dropna()
    assert set(known.index.get_level_values("k")) == {1, 5, 20}
    expected = (top["accuracy"] - random).dropna()
    assert np.allclose(known.sort_index(), expected.sort_index())


def test_an_unchanged_run_has_no_change_and_no_interval(table):
    _, rows = table
    same = rows[(rows["edit"] == "remove") & (rows["error"] == "keep") & (rows["k"] == 0)]
    assert (same[["change", "change_low", "change_high"]] == 0).all().all()

"""Images from every class, units evenly over their scores, weights of resamples, labels."""

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.steering.layer_summary import resample_weights
from clip_sae.analyses.steering.layer_tables import systematic_sample
from clip_sae.analyses.steering.measure import SteeredLayer, choose_images


def manifest(n_classes=4, per_class=6):
    """Return rows whose paths are not in the order of the index."""
    n = n_classes * per_class
    order = np.random.default_rng(1).permutation(n)
    return pd.DataFrame({"path": [f"{k:03d}.png" for k in order], "label_idx": order % n_classes},
                        index=np.arange(100, 100 + n))  # fmt: skip


@pytest.mark.parametrize("n", [1, 4, 10, 24])
def test_a_stratified_sample_takes_every_class_equally_often(n):
    table = manifest()
    source = np.random.default_rng(0).permutation(table.index)
    chosen = choose_images(table, source, n, sampling="stratified", seed=0)
    counts = table.loc[source[chosen]].label_idx.value_counts().reindex(range(4), fill_value=0)
    assert len(set(chosen.tolist())) == n and counts.max() - counts.min() <= 1


def test_the_sample_does_not_depend_on_the_order_in_the_store_but_on_the_seed():
    table = manifest()
    found = []
    for order in (0, 1):
        source = np.random.default_rng(order).permutation(table.index)
        rows = choose_images(table, source, 9, sampling="stratified", seed=5)
        found.append(source[rows].tolist())
    assert found[0] == found[1]
    other = choose_images(table, table.index.to_numpy(), 9, sampling="stratified", seed=6)
    assert set(table.index[other]) != set(found[0])


def test_first_sorted_is_the_first_by_path():
    table = manifest()
    source = table.index.to_numpy()[::-1]
    chosen = choose_images(table, source, 5, sampling="first_sorted", seed=0)
    assert table.loc[source[chosen]].path.tolist() == [f"{k:03d}.png" for k in range(5)]
    assert len(choose_images(table, source, 999, sampling="first_sorted", seed=0)) == 24
    with pytest.raises(ValueError, match="'random' does not exist; write stratified, first_sorted"):
        choose_images(table, source, 5, sampling="random", seed=0)


def test_first_sorted_uses_file_names_not_folders():
    """The authors' 192 files lie in one folder, other copies of the set in class folders."""
    names = ["c/1.png", "a/3.png", "b/1.png", "a/2.png"]
    table = pd.DataFrame({"path": names, "label_idx": [2, 0, 1, 0]})
    chosen = choose_images(table, np.arange(4), 3, sampling="first_sorted", seed=0)
    assert [names[i] for i in chosen] == ["b/1.png", "c/1.png", "a/2.png"]


def test_a_systematic_sample_spreads_over_the_values_and_is_fair():
    values = np.random.default_rng(0).permutation(100).astype(float)
    chosen = systematic_sample(values, 10, seed=0)
    assert sorted(values[chosen] // 10) == list(range(10))
    assert (np.diff(chosen) > 0).all()
    assert systematic_sample(values, 100, seed=0).tolist() == list(range(100))
    taken = np.bincount(
        np.concatenate([systematic_sample(values, 7, seed=s) for s in range(3000)]), minlength=100
    )
    assert np.abs(taken / 3000 - 0.07).max() < 0.03


def test_resample_weights_are_shares_of_a_multinomial_draw():
    weights = resample_weights(12, 4000, seed=0)
    assert weights.shape == (4000, 12)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights * 12, np.round(weights * 12), atol=1e-9)
    np.testing.assert_allclose(weights.mean(0), 1 / 12, atol=0.01)
    np.testing.assert_array_equal(weights, resample_weights(12, 4000, seed=0))


def test_labels_distinguish_saes():
    layer = SteeredLayer.__new__(SteeredLayer)  # without its weights
    layer.label = "vanilla_resid"
    labels = [layer.label_of(kind) for kind in ("latent", "random_sae", "pca")]
    assert labels == ["vanilla_resid", "vanilla_resid untrained", "pca"]

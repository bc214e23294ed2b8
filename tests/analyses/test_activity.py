"""One pass over a store against a loop over its tokens."""

import numpy as np
import pytest
import torch

from clip_sae.analyses.shared.activity import measure_activity


def measure(store, sae, **options):
    return measure_activity(store, sae, progress=False, **options)


def test_it_counts_what_fires(store, sae, x):
    activity = measure(store, sae)
    fires = sae.encode(torch.from_numpy(x.astype(np.float32))).latents.numpy() > 0
    for image in range(11):
        for token in range(10):
            assert activity.l0[image, token] == fires[image, token].sum()
            norm = np.sqrt((x[image, token].astype(np.float64) ** 2).sum())
            assert activity.norm[image, token] == pytest.approx(norm, rel=1e-5)
    np.testing.assert_array_equal(activity.cls_fired, fires[:, 0].sum(0))
    np.testing.assert_array_equal(activity.patch_fired, fires[:, 1:].sum((0, 1)))
    assert activity.cls_fired[:2].sum() == 0
    for tokens, n_tokens in (("cls", 11), ("patch", 99), ("all", 110)):
        fired, counted = activity.fired(tokens)
        assert counted == n_tokens
        assert fired.max() <= n_tokens
    assert activity.fired("all")[0].sum() == activity.l0.sum()


@pytest.mark.parametrize("batch_images", [1, 4, 100])
def test_the_batch_size_changes_nothing(store, sae, batch_images):
    whole, parts = measure(store, sae), measure(store, sae, batch_images=batch_images)
    np.testing.assert_array_equal(whole.l0, parts.l0)
    np.testing.assert_array_equal(whole.patch_fired, parts.patch_fired)


def test_fewer_images_are_the_first_ones(store, sae):
    whole, few = measure(store, sae), measure(store, sae, max_images=3)
    np.testing.assert_array_equal(few.l0, whole.l0[:3])
    np.testing.assert_array_equal(few.source_index, [0, 1, 2])


def test_topk_uses_at_most_k(store, make_sae):
    activity = measure(store, make_sae(architecture="topk", k=4))
    assert activity.l0.max() <= 4


def test_an_sae_of_another_width_is_refused(store, make_sae):
    with pytest.raises(ValueError, match="the SAE reads d_model 8, memory holds d_model 6"):
        measure(store, make_sae(d_model=8))
    with pytest.raises(ValueError, match="max_images is 0 and memory holds 11 images"):
        measure(store, make_sae(), max_images=0)
    with pytest.raises(ValueError, match="tokens 'spatial' is not known"):
        measure(store, make_sae()).fired("spatial")

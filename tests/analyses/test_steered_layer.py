"""Names of units in tables."""

from clip_sae.analyses.steering.measure import SteeredLayer


def test_labels_tell_saes_apart():
    layer = SteeredLayer.__new__(SteeredLayer)  # without its weights
    layer.label = "vanilla_resid"
    labels = [layer.label_of(kind) for kind in ("latent", "random_sae", "pca")]
    assert labels == ["vanilla_resid", "vanilla_resid untrained", "pca"]

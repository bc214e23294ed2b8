"""The concept table: a row per latent with its sparsity, strength, label entropy and images.

PatchSAE §3.2 and Fig. 3.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clip_sae.analyses.concepts.labels import (
    class_shares,
    highest_entropy,
    label_deviation,
    label_entropy,
)
from clip_sae.analyses.shared.sums import ConceptSums


def concept_table(found: ConceptSums, label: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """One row per unit.

    Columns: unit; n_images, n_active, sparsity (share of images on which it is active),
    log10_sparsity, mean_activation (over the images on which it is active), top_activation;
    label_entropy (nats), label_entropy_normalised (over the highest that as many images can have,
    0…1), label_std (class indices), top_label and top_label_share (the class with most of the top
    images' activation); strong_tokens and strong_classes (tokens above the threshold, and classes
    that have one); images (manifest rows, strongest first). A unit with fewer top images than were
    asked for has no entropy: few images of one class would pass for a clear concept.

    Args:
        found: of latents or neurons. Negative values of neurons weigh nothing in their entropy;
            how sparse and strong they are, and their strong tokens, is left empty.
        label: class index of every row of the manifest; names: of the classes.
    """
    sums, top = found.sums, found.top
    k = top.row.shape[1]
    top_label = np.where(top.row >= 0, label[np.maximum(top.row, 0)], -1)
    value = np.where(top.row >= 0, np.maximum(top.value, 0.0), 0.0)
    shares = class_shares(value, top_label, len(names))
    enough = (top.row >= 0).all(1)
    entropy = np.where(enough, label_entropy(shares), np.nan)
    highest = highest_entropy(k, len(names))
    alive = sums.n_active > 0
    with np.errstate(divide="ignore"):
        log10 = np.where(alive, np.log10(sums.sparsity), np.nan)
    table = pd.DataFrame(
        {
            "unit": np.arange(len(alive)),
            "n_images": int(sums.n_images.sum()),
            "n_active": sums.n_active,
            "sparsity": sums.sparsity,
            "log10_sparsity": log10,
            "mean_activation": sums.mean_activation,
            "top_activation": np.where(alive, value[:, 0], np.nan),
            "label_entropy": entropy,
            "label_entropy_normalised": entropy / highest if highest > 0 else np.nan,
            "label_std": np.where(enough, label_deviation(top_label), np.nan),
            "top_label": np.where(alive, np.asarray(names)[shares.argmax(1)], ""),
            "top_label_share": np.where(alive, shares.max(1), np.nan),
            "strong_tokens": pd.array([pd.NA] * len(alive), dtype="Int64"),
            "strong_classes": pd.array([pd.NA] * len(alive), dtype="Int64"),
            "images": [" ".join(str(row) for row in rows if row >= 0) for rows in top.row],
        }
    )
    if found.class_counts is None:
        table[["sparsity", "log10_sparsity", "mean_activation"]] = np.nan
    else:
        table["strong_tokens"] = found.class_counts.counts.sum(0)
        table["strong_classes"] = (found.class_counts.counts > 0).sum(0)
    return table

"""What the strongest images of a unit are labelled: entropy and spread of their classes.

PatchSAE §3.2. p_c is the share of a unit's activation, over its top images, that falls on images of
class c; the label entropy is −Σ_c p_c ln p_c: 0 where all are of one class.
"""

import numpy as np


def class_shares(value: np.ndarray, label: np.ndarray, n_classes: int) -> np.ndarray:
    """Return [unit, class]: share of the activation on images of each class; rows sum to 1.

    A unit without images has zeros.

    Args:
        value: [unit, image] activation on its top images, ≥ 0; label: [unit, image] class index,
            −1 where a unit has fewer images.
    """
    mass = np.where(label >= 0, value, 0.0).astype(np.float64)
    shares = np.zeros((len(value), n_classes))
    at = np.broadcast_to(np.arange(len(value))[:, None], label.shape)
    np.add.at(shares, (at, np.maximum(label, 0)), mass)
    total = shares.sum(1, keepdims=True)
    return np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)


def label_entropy(shares: np.ndarray) -> np.ndarray:
    """Return [unit] −Σ p ln p in nats, of shares [unit, class] (0 ln 0 is 0)."""
    safe = np.where(shares > 0, shares, 1.0)
    return np.abs((shares * np.log(safe)).sum(1))  # abs: no −0.0


def highest_entropy(k: int, n_classes: int) -> float:
    """The highest entropy, in nats, that `k` images of `n_classes` classes can have."""
    return float(np.log(min(k, n_classes)))


def label_deviation(label: np.ndarray) -> np.ndarray:
    """Return [unit] standard deviation (n) of the class indices of its images; NaN without any.

    ASSUME: the paper names a label standard deviation and prints no formula; neither do the
    authors' files. Class indices are sorted names, so it means something only where neighbouring
    classes are alike, as WordNet's order makes ImageNet's.
    """
    known = label >= 0
    n = known.sum(1)
    safe = np.maximum(n, 1)
    mean = np.where(known, label, 0).sum(1) / safe
    spread = np.where(known, np.square(label - mean[:, None]), 0.0).sum(1) / safe
    return np.where(n > 0, np.sqrt(spread), np.nan)

"""Few-shot training sets and the two halves of the classes.

The protocol of Zhou et al. 2022 (CoCoOp): the first half of the class list is *base* and gives the
training images, the rest is *novel*; each half is classified among its own classes only. NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassHalves:
    """Indices of the base and novel classes into a list of `n_classes`."""

    n_classes: int

    def __post_init__(self) -> None:
        if self.n_classes < 2:
            raise ValueError(
                f"a base and a novel half need at least 2 classes; found {self.n_classes}."
            )

    @property
    def n_base(self) -> int:
        """Base classes: half of all, rounded up."""
        return (self.n_classes + 1) // 2

    @property
    def base(self) -> range:
        return range(self.n_base)

    @property
    def novel_classes(self) -> np.ndarray:
        """[class] bool, True for novel classes."""
        return np.arange(self.n_classes) >= self.n_base


def choose_shots(
    labels: np.ndarray, classes: Sequence[int], shots: int, seed: int
) -> tuple[np.ndarray, dict[int, int]]:
    """Return positions into `labels` of `shots` images per class, and the classes with fewer.

    A generator of (seed, class) draws the images of a class without replacement, so another class
    in the list changes no other's images. A class with fewer than `shots` gives all of its images
    and stands in {class: images}.

    Raises ValueError for a class without any image.
    """
    labels = np.asarray(labels)
    rows, fewer = [], {}
    for name in classes:
        own = np.flatnonzero(labels == name)
        if not len(own):
            raise ValueError(f"class {name} has no training image, so it gives no shots.")
        drawn = np.random.default_rng((seed, name)).permutation(own)[:shots]
        rows.append(np.sort(drawn))
        if len(drawn) < shots:
            fewer[int(name)] = len(drawn)
    return np.concatenate(rows), fewer


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of n images in an epoch, a pure function of (seed, epoch) for resuming."""
    return np.random.default_rng((seed, epoch)).permutation(n)

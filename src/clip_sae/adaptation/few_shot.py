"""Few images of half of the classes: what an adaptation is trained on, and what it is judged by.

The protocol of Zhou et al. 2022 (CoCoOp): the first half of the class list is *base* and gives the
training images, the rest is *novel*; each half is told apart among its own classes only. NumPy.
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
    def novel(self) -> range:
        return range(self.n_base, self.n_classes)

    @property
    def novel_classes(self) -> np.ndarray:
        """[class] bool."""
        return np.arange(self.n_classes) >= self.n_base


def choose_shots(
    labels: np.ndarray, classes: Sequence[int], shots: int, seed: int
) -> tuple[np.ndarray, dict[int, int]]:
    """Return positions into `labels` of `shots` images of each class, and who had fewer.

    The images of a class are drawn without replacement, from a generator of (seed, class): another
    class in the list changes no other's images. {class: images} names those with fewer than
    `shots`, all of which are taken.

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
    """The order of n images in an epoch: a pure function of (seed, epoch), so training resumes."""
    return np.random.default_rng((seed, epoch)).permutation(n)

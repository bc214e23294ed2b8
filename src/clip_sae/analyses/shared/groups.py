"""Groups of label and attribute, and accuracies over them.

Steering paper §7.1: overall and worst-group accuracy. Sagawa et al. 2020 for the groups, Koh et al.
2021 (WILDS) for the adjusted average. NumPy and pandas only.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

N_GROUPS = 4  # two labels x two values of the attribute; group = 2 · label + attribute


@dataclass(frozen=True)
class Groups:
    """Label and attribute of every row of a manifest.

    Attributes:
        label: [row] 0 or 1.
        attribute: [row] 0 or 1; −1 for unknown.
    """

    label: np.ndarray
    attribute: np.ndarray

    @property
    def group(self) -> np.ndarray:
        """[row]: 2 · label + attribute, −1 for an unknown attribute."""
        return np.where(self.attribute < 0, -1, 2 * self.label + self.attribute)

    def at(self, rows: np.ndarray) -> "Groups":
        """Return the groups of some rows, in their order."""
        return Groups(self.label[rows], self.attribute[rows])

    def __len__(self) -> int:
        return len(self.label)


def read_groups(manifest: pd.DataFrame, attribute: str) -> Groups:
    """Return the groups of a manifest with two labels; `attribute` as in its column attr_<name>.

    Raises ValueError for a manifest without that column, or with other values than 0 and 1.
    """
    column = f"attr_{attribute}"
    if column not in manifest:
        found = [name.removeprefix("attr_") for name in manifest if name.startswith("attr_")]
        raise ValueError(
            f"the manifest has no attribute {attribute!r}; it has {', '.join(found) or 'none'}. "
            "Name one of them under analyses.suppression.sets, or list it in the set's metadata."
        )
    label = manifest["label_idx"].to_numpy(dtype=np.int64)
    values = manifest[column].to_numpy(dtype=np.int64)
    for name, found in (("label_idx", label), (column, values)):
        if not set(np.unique(found)) <= {0, 1}:
            raise ValueError(
                f"suppression needs 0 and 1 in the manifest's {name}; found "
                f"{sorted(set(found.tolist()))[:5]}. Give it a set of two classes and one binary "
                "attribute."
            )
    return Groups(label, values)


def train_counts(manifest: pd.DataFrame, groups: Groups) -> np.ndarray:
    """Return [group]: readable images of the training split."""
    kept = (manifest["split"] == "train") & (manifest["status"] == "ok")
    return np.bincount(groups.group[kept.to_numpy()], minlength=N_GROUPS)


def balanced_rows(groups: Groups, rows: np.ndarray, seed: int) -> np.ndarray:
    """Return rows, ascending, of which every group has as many as the smallest group.

    The choice depends on the set of `rows` and the seed, not on the order of `rows`. The steering
    paper's CelebA numbers are multiples of 1/720, so of 4 x 180 images: its smallest group.
    """
    rows = np.sort(rows)
    group = groups.at(rows).group
    counts = np.bincount(group, minlength=N_GROUPS)
    if counts.min() == 0:
        raise ValueError(
            f"the groups hold {counts.tolist()} images, so none is left when each is cut to the "
            "smallest. Write `images: full`, or give a split with images in all four groups."
        )
    rng = np.random.default_rng(seed)
    kept = [rng.permutation(rows[group == g])[: counts.min()] for g in range(N_GROUPS)]
    return np.sort(np.concatenate(kept))


def count_correct(correct: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return [..., group]: right answers, from `correct` [..., image] bool and `group` [image]."""
    one_hot = group[:, None] == np.arange(N_GROUPS)  # [image group]
    return np.asarray(correct, dtype=np.int64) @ one_hot.astype(np.int64)


@dataclass(frozen=True)
class Scores:
    """Accuracies from counts: `right` [..., group] of `total` [group] images.

    All are shares in 0…1. `train` [group] are the training set's counts, for `adjusted`.
    """

    right: np.ndarray
    total: np.ndarray
    train: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """[..., group]."""
        return self.right / self.total

    @property
    def overall(self) -> np.ndarray:
        """[...]: share of all images, so groups weigh as in the split."""
        return self.right.sum(-1) / self.total.sum()

    @property
    def group_mean(self) -> np.ndarray:
        """[...]: mean of the four group accuracies."""
        return self.accuracy.mean(-1)

    @property
    def adjusted(self) -> np.ndarray:
        """[...]: group accuracies weighted by the training counts (WILDS, Waterbirds)."""
        return self.accuracy @ (self.train / self.train.sum())

    @property
    def worst(self) -> np.ndarray:
        """[...]: least of the four group accuracies."""
        return self.accuracy.min(-1)

    def columns(self) -> dict[str, np.ndarray]:
        """Return all accuracies as columns of a table, with n_0…n_3 and right_0…right_3."""
        found = {name: getattr(self, name) for name in SCORES}
        for g in range(N_GROUPS):
            found[f"right_{g}"] = self.right[..., g]
            found[f"n_{g}"] = np.broadcast_to(self.total[g], self.right[..., g].shape)
        return found


SCORES = ("overall", "group_mean", "adjusted", "worst")

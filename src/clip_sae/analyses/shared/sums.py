"""Image-level, class-level and data-set-level activation of every unit, from one pass of a store.

PatchSAE §3.2. A unit's value on an image is its mean over the tokens; a class counts the tokens on
which it is clearly active; the data set has the share of images on which it is active and its mean
over those. The pass is the one that finds the strongest images, so a store is encoded once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from clip_sae.analyses.shared.class_counts import THRESHOLD, ClassCounter, ClassCounts
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.top_images import TopImages, measure_top_images
from clip_sae.analyses.shared.units import Units


class Watcher(Protocol):
    """Something that takes values [image, token, unit] of the manifest rows `row` [image]."""

    def add(self, values: Tensor, row: np.ndarray) -> None: ...


class Watched:
    """Units whose values watchers see, for one pass over all of `rows`.

    `rows` are the manifest rows of the images in the order of the pass.
    """

    def __init__(self, units: Units, rows: np.ndarray, *watchers: Watcher) -> None:
        self.units, self.rows, self.watchers = units, rows, watchers
        self.n_units, self.row_norm, self.signed = units.n_units, units.row_norm, units.signed
        self._read = 0

    def read(self, x: Tensor) -> Tensor:
        values = self.units.read(x)
        row = self.rows[self._read : self._read + len(x)]
        if len(row) < len(x):
            raise ValueError(
                f"the pass reads more than the {len(self.rows)} images of its rows; a "
                f"Watched serves one pass. Make a new one for the next."
            )
        self._read += len(x)
        for watcher in self.watchers:
            watcher.add(values, row)
        return values

    def on(self, x: Tensor):
        return self.units.on(x)


@dataclass(frozen=True)
class UnitSums:
    """Sums over images of the value of every unit, its mean over the image's tokens.

    Attributes:
        n_images: [class] images of each class.
        n_active: [unit] images whose value is above 0.
        total: [class, unit] float64 sum of values.
        square: [unit] float64 sum of squared values.
    """

    n_images: np.ndarray
    n_active: np.ndarray
    total: np.ndarray
    square: np.ndarray

    @property
    def sparsity(self) -> np.ndarray:
        """[unit] share of the images on which it is active, 0…1."""
        return self.n_active / self.n_images.sum()

    @property
    def mean_activation(self) -> np.ndarray:
        """[unit] mean over the images on which it is active; NaN for none."""
        active = np.where(self.n_active > 0, self.n_active, np.nan)
        return self.total.sum(0) / active

    def class_gap(self) -> np.ndarray:
        """Return [class, unit]: mean of the class minus mean of the others, in standard deviations.

        The deviation is the unit's over all images. The gap is 0 for a unit that never changes and
        for a class without images on either side.
        """
        n, count = self.n_images.sum(), self.n_images[:, None]
        whole = self.total.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = self.total / count - (whole - self.total) / (n - count)
            deviation = np.sqrt(np.maximum(self.square / n - np.square(whole / n), 0))
            return np.nan_to_num(gap / deviation, nan=0.0, posinf=0.0, neginf=0.0)


class ImageSums:
    """A watcher that adds up image-level values.

    Args:
        label: class index of every row of the manifest.
        threshold: tokens above it are counted per class; None counts none.
    """

    def __init__(
        self,
        label: np.ndarray,
        n_classes: int,
        n_units: int,
        *,
        threshold: float | None = THRESHOLD,
        device: torch.device | str = "cpu",
    ) -> None:
        self.label = label
        self._counter = None
        if threshold is not None:
            self._counter = ClassCounter(n_classes, n_units, threshold=threshold, device=device)
        self._n_images = np.zeros(n_classes, dtype=np.int64)
        self._n_active = torch.zeros(n_units, dtype=torch.int64, device=device)
        self._total = torch.zeros(n_classes, n_units, dtype=torch.float64, device=device)
        self._square = torch.zeros(n_units, dtype=torch.float64, device=device)

    def add(self, values: Tensor, row: np.ndarray) -> None:
        label = self.label[row]
        value = values.mean(1).double()  # [image unit]
        self._n_images += np.bincount(label, minlength=len(self._n_images))
        self._n_active += (value > 0).sum(0)
        self._total.index_add_(0, torch.as_tensor(label, device=value.device), value)
        self._square += value.square().sum(0)
        if self._counter is not None:
            self._counter.add(values, label)

    @property
    def sums(self) -> UnitSums:
        arrays = (found.cpu().numpy() for found in (self._n_active, self._total, self._square))
        return UnitSums(self._n_images, *arrays)

    @property
    def class_counts(self) -> ClassCounts | None:
        """Class-level activation; None without a threshold."""
        return None if self._counter is None else self._counter.result()


class StrongestUnits:
    """A watcher that keeps, for every image, the `k` latents of the highest value above 0.

    `allowed` [unit] leaves latents out, e.g. those that are active everywhere.
    """

    def __init__(self, k: int, allowed: np.ndarray) -> None:
        self.k = min(k, len(allowed))
        self._banned = torch.from_numpy(~np.asarray(allowed))
        self._unit: list[np.ndarray] = []
        self._value: list[np.ndarray] = []

    def add(self, values: Tensor, row: np.ndarray) -> None:
        value = values.mean(1).masked_fill(self._banned.to(values.device), -torch.inf)
        found = value.topk(self.k, dim=1)
        unit = found.indices.masked_fill(found.values <= 0, -1)
        self._unit.append(unit.cpu().numpy().astype(np.int32))
        self._value.append(found.values.cpu().numpy())

    @property
    def unit(self) -> np.ndarray:
        """Units [image, rank], strongest first, −1 for none; images in the order of the pass."""
        return np.concatenate(self._unit)

    @property
    def value(self) -> np.ndarray:
        """The values of `unit`, [image, rank]."""
        return np.concatenate(self._value)


@dataclass(frozen=True)
class ConceptSums:
    """Results of one pass for one kind of unit.

    Attributes:
        top: the strongest images of each unit.
        class_counts: class-level activation; strongest: the `k` strongest latents of each image.
            Both are None for neurons.
    """

    sums: UnitSums
    top: TopImages
    class_counts: ClassCounts | None
    strongest: StrongestUnits | None


def measure_units(
    images: StoreImages,
    units: Mapping[str, Units],
    label: np.ndarray,
    n_classes: int,
    k: int,
    *,
    threshold: float = THRESHOLD,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> dict[str, ConceptSums]:
    """Return {name: sums, `k` strongest images of units, and units of images} from one pass.

    Args:
        units: e.g. one `Latents` and `Neurons`. Signed units get no class counts.
        label: class index of every row of the manifest.
        threshold: of the class counts.
    """
    watchers: dict[str, list] = {}
    for name, kind in units.items():
        level = None if kind.signed else threshold
        sums = ImageSums(label, n_classes, kind.n_units, threshold=level, device=device)
        every = np.ones(kind.n_units, dtype=bool)
        watchers[name] = [sums, None if kind.signed else StrongestUnits(k, every)]
    top = measure_top_images(
        images,
        {
            name: Watched(kind, images.rows, *filter(None, watchers[name]))
            for name, kind in units.items()
        },
        k,
        device=device,
        rankings=["mean"],
        signed=[name for name, kind in units.items() if kind.signed],
        progress=progress,
    )
    return {
        name: ConceptSums(sums.sums, top[name]["mean"], sums.class_counts, strongest)
        for name, (sums, strongest) in watchers.items()
    }

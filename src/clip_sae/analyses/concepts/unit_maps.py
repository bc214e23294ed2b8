"""Patch maps of units (the patches on which a unit is active), and the choice of units to map.

PatchSAE §3.3: reference images are shown through a mask of the latent's activation on each patch,
and an image is explained by its strongest latents. For comparison: the latent and the neuron that
separate the image's class best from the others on other images, and units drawn at random.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.sums import StrongestUnits, UnitSums, Watched
from clip_sae.analyses.shared.top_images import BYTES_AT_ONCE, token_values
from clip_sae.analyses.shared.units import Units

IMAGES_AT_ONCE = 256  # neighbours in the store, so that few unused images are read


def picked_values(
    images: StoreImages,
    units: Units,
    row: np.ndarray,
    unit: np.ndarray,
    *,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Return [pick, token] float32: the value of unit[i] at each token of manifest row row[i].

    Like `token_values`, for any number of picks: they are read in the order of the store, some
    hundred images at a time, so the time is that of one pass over the picked images.
    """
    row, unit = np.asarray(row, dtype=np.int64), np.asarray(unit, dtype=np.int64)
    found = np.empty((len(row), images.store.n_tokens), dtype=np.float32)
    position = np.full(1 + max(row.max(initial=0), images.rows.max(initial=0)), -1)
    position[images.rows] = np.arange(len(images))
    at = position[row]
    if len(at) and at.min() < 0:
        raise ValueError(
            f"{images.store.path} lacks the image of manifest row {row[at < 0][0]}. Give the "
            f"store of the same data set and split."
        )
    order = np.argsort(at, kind="stable")
    picked = np.unique(at)
    for start in range(0, len(picked), IMAGES_AT_ONCE):
        chunk = picked[start : start + IMAGES_AT_ONCE]
        low, high = np.searchsorted(at[order], [chunk[0], chunk[-1] + 1])
        picks = order[low:high]
        where = StoreImages(images.store, images.rows[chunk], batch_images=images.batch_images)
        found[picks] = token_values(where, units, row[picks], unit[picks], device=device)
    return found


def reference_maps(
    images: StoreImages,
    units: Units,
    rows: np.ndarray,
    *,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Return [unit, rank, patch] float16 of the top images `rows` [unit, rank]; NaN for none."""
    maps = np.full((*rows.shape, images.store.n_patches), np.nan, dtype=np.float16)
    unit, rank = np.nonzero(rows >= 0)
    values = picked_values(images, units, rows[unit, rank], unit, device=device)
    maps[unit, rank] = values[:, 1:]
    return maps


@dataclass(frozen=True)
class PatchMaps:
    """The map of one unit on each image.

    Attributes:
        unit: [image], −1 for none; maps: [image, patch];
        low: [image] the value that counts as not active.
    """

    unit: np.ndarray
    maps: np.ndarray
    low: np.ndarray

    @classmethod
    def of_latents(cls, unit: np.ndarray, maps: np.ndarray) -> "PatchMaps":
        return cls(unit, np.where(unit[:, None] >= 0, maps, 0.0), np.zeros(len(maps)))

    @classmethod
    def of_neurons(cls, unit: np.ndarray, maps: np.ndarray, sign: np.ndarray) -> "PatchMaps":
        signed = maps * sign[:, None]
        return cls(unit, signed, signed.min(1))


class RandomActiveUnit:
    """A watcher that draws, for every image, one of the units that are active on a patch of it.

    The draw depends on the seed and the image's manifest row alone. −1 where none is active.

    Args:
        allowed: [unit] bool, units that may be drawn.
    """

    def __init__(self, allowed: np.ndarray, seed: int) -> None:
        self.allowed, self.seed = np.asarray(allowed), seed
        self._unit: list[int] = []

    def add(self, values: Tensor, row: np.ndarray) -> None:
        active = (values[:, 1:] > 0).any(1).cpu().numpy() & self.allowed
        for one, at in zip(active, row, strict=True):
            units = np.flatnonzero(one)
            rng = np.random.default_rng([self.seed, int(at)])
            self._unit.append(int(units[rng.integers(len(units))]) if len(units) else -1)

    @property
    def unit(self) -> np.ndarray:
        """Units [image], images in the order of the pass."""
        return np.asarray(self._unit, dtype=np.int64)


def class_units(gap: np.ndarray, *, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (unit, sign) [class] of the largest gap; units that can be negative count both ways.

    Args:
        gap: [class, unit] from `UnitSums.class_gap`.
    """
    unit = (np.abs(gap) if signed else gap).argmax(1)
    sign = np.where(gap[np.arange(len(gap)), unit] < 0, -1.0, 1.0)
    return unit, sign if signed else np.ones(len(gap))


@dataclass(frozen=True)
class ChosenUnits:
    """Units of each image, images in the order of the store's rows.

    Attributes:
        maps: {choice: map of its unit on every image}.
        strongest: [image, rank] latents of the highest mean over tokens, strongest first.
    """

    maps: Mapping[str, PatchMaps]
    strongest: np.ndarray


def selective(sums: UnitSums, max_share: float) -> np.ndarray:
    """Return [unit] bool: active on some image, and on at most `max_share` of them.

    A latent that is active nearly everywhere explains no image. (The authors leave out latents of a
    mean activation above 0.1 on ImageNet, a number that belongs to their SAE.)
    """
    return (sums.n_active > 0) & (sums.sparsity <= max_share)


@torch.inference_mode()
def choose_units(
    images: StoreImages,
    units: Mapping[str, Units],
    sums: Mapping[str, UnitSums],
    label: np.ndarray,
    *,
    max_share: float,
    strongest: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> ChosenUnits:
    """Choose a unit for every image by each rule, and read its map.

    Args:
        images: held out; units, sums: {"latent", "neuron"}, the sums over other images.
        label: class index of every row of the manifest.
        max_share: see `selective`; the latents of a class may be active anywhere.
        strongest: latents kept per image.
        seed: of the units drawn at random.
    """
    own = label[images.rows]
    allowed = selective(sums["latent"], max_share)
    drawn, best = RandomActiveUnit(allowed, seed), StrongestUnits(strongest, allowed)
    of_all = StrongestUnits(1, np.ones(len(allowed), dtype=bool))
    watched = Watched(units["latent"], images.rows, drawn, best, of_all)
    for _, x in images.batches(torch.device(device)):
        size = max(1, BYTES_AT_ONCE // (4 * x.shape[1] * watched.n_units))
        for part in x.split(size):
            watched.read(part)

    def read(kind: str, unit: np.ndarray) -> np.ndarray:
        """Return [image, patch] of unit[i] on image i."""
        known = np.maximum(unit, 0)
        return picked_values(images, units[kind], images.rows, known, device=device)[:, 1:]

    maps = {}
    latents = {
        "class_latent": class_units(sums["latent"].class_gap(), signed=False)[0][own],
        "strongest_latent": best.unit[:, 0],
        "strongest_of_all": of_all.unit[:, 0],
        "random_latent": drawn.unit,
    }
    for choice, unit in latents.items():
        maps[choice] = PatchMaps.of_latents(unit, read("latent", unit))
    n_neurons = units["neuron"].n_units
    rng = [np.random.default_rng([seed, int(row)]) for row in images.rows]
    lot = np.array([one.integers(2 * n_neurons) for one in rng])
    unit, sign = class_units(sums["neuron"].class_gap(), signed=True)
    neurons = {
        "class_neuron": (unit[own], sign[own]),
        "random_neuron": (lot // 2, np.where(lot % 2 > 0, 1.0, -1.0)),
    }
    for choice, (unit, sign) in neurons.items():
        maps[choice] = PatchMaps.of_neurons(unit, read("neuron", unit), sign)
    return ChosenUnits(maps, best.unit)

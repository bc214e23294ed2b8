"""Which unit stands for each held-out image, and its patch map there.

PatchSAE §3.3: an image is explained by its strongest latents. Beside them, the latent and the
neuron that tell the image's class from the others on other images, and units drawn by lot.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from clip_sae.analyses.concepts.localisation import PatchMaps, RandomActiveUnit, class_units
from clip_sae.analyses.concepts.maps import picked_values
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.sums import StrongestUnits, UnitSums, Watched
from clip_sae.analyses.shared.top_images import BYTES_AT_ONCE
from clip_sae.analyses.shared.units import Units


@dataclass(frozen=True)
class ChosenUnits:
    """Units of each image, images in the order of the store's rows.

    Attributes:
        maps: {choice: map of its unit on every image}.
        strongest: [image, place] latents of the highest mean over tokens, strongest first.
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
        images: held out; units, sums: {"latent", "neuron"}, sums of other images.
        label: class index of every row of the manifest.
        max_share: see `selective`; the latents of a class may be active anywhere.
        strongest: latents kept per image.
        seed: of the units drawn by lot.
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
        """[image, patch] of unit[i] on image i."""
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


def named_examples(manifest: pd.DataFrame, paths: Sequence[str]) -> np.ndarray:
    """Return the manifest rows of images named by their paths, in that order."""
    rows = {path: row for row, path in manifest["path"].items()}
    lacking = [path for path in paths if path not in rows]
    if lacking:
        close = difflib.get_close_matches(lacking[0], rows, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"analyses.concepts.examples: {lacking[0]!r} is not in the manifest.{hint} Write paths "
            f"as manifest.csv has them."
        )
    return np.array([rows[path] for path in paths], dtype=np.int64)


def _spread(own: np.ndarray, n: int) -> np.ndarray:
    """Up to `n` of the classes in `own`, spread evenly."""
    classes = np.unique(own)
    return classes[np.linspace(0, len(classes) - 1, min(n, len(classes))).round().astype(int)]


def first_examples(own: np.ndarray, n: int) -> np.ndarray:
    """Return positions of `n` images: of classes spread evenly, the first; own: [image] class."""
    return np.array([np.flatnonzero(own == c)[0] for c in _spread(own, n)], dtype=np.int64)


def median_examples(score: np.ndarray, own: np.ndarray, n: int) -> np.ndarray:
    """Return positions of `n` images: of classes spread evenly, the one of median score each.

    Args:
        score: [image]; own: [image] class index.
    """
    found = []
    for c in _spread(own, n):
        members = np.flatnonzero(own == c)
        order = members[np.argsort(score[members], kind="stable")]
        found.append(order[(len(order) - 1) // 2])
    return np.asarray(found, dtype=np.int64)

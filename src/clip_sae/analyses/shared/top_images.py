"""The images that activate each unit most, for all units, from one pass over a store.

Steering paper App. 12, Figs 2 and 10. The authors rank images by a latent's mean over tokens; its
maximum and its value at CLS are the other usual choices, and come from the same pass.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clip_sae.analyses.shared.named_records import write_records
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.units import Units

RANKINGS = ("mean", "max", "cls")
NO_ROW = -1
# An SAE of 49,152 latents gives 10 MB for each image of 50 tokens, several times over.
BYTES_AT_ONCE = 256 * 2**20


@dataclass(frozen=True)
class TopImages:
    """The strongest images of each unit under one ranking, strongest first.

    Attributes:
        value: [unit, rank] float32; −inf where a unit has fewer images.
        row: [unit, rank] int64, manifest row of the image; −1 where a unit has fewer.
        n_active: [unit] int64, images on which the unit's value is above 0.
        n_images: images ranked, [].
    """

    value: np.ndarray
    row: np.ndarray
    n_active: np.ndarray
    n_images: np.ndarray


@torch.inference_mode()
def measure_top_images(
    images: StoreImages,
    units: Mapping[str, Units],
    k: int,
    *,
    device: torch.device | str,
    rankings: Sequence[str] = RANKINGS,
    signed: Collection[str] = (),
    progress: bool = True,
) -> dict[str, dict[str, TopImages]]:
    """Return {units: {ranking: TopImages}} of `k` images each.

    Equal values are ordered by manifest row, so neither the order of images in the store nor the
    size of a batch matters, as far as an encoder gives an image the same value in any batch.

    Args:
        units: e.g. one `Latents` per SAE and `Neurons`; their weights lie on `device`.
        rankings: of RANKINGS: how tokens give an image's value.
        signed: names of units that rank images by any value. The others (SAEs' latents) leave out
            images on which the unit is 0.
    """
    unknown = sorted(set(rankings) - set(RANKINGS))
    if unknown or k < 1:
        raise ValueError(
            f"{k} images by {', '.join(unknown or rankings)} were requested; request one or more, "
            f"ranked by {', '.join(RANKINGS)}."
        )
    best = {
        name: {r: _Best(kind.n_units, k, name in signed, device) for r in rankings}
        for name, kind in units.items()
    }
    for which, x in images.batches(torch.device(device), "top images" if progress else None):
        row = torch.from_numpy(images.rows[which]).to(device)
        for name, kind in units.items():
            size = max(1, BYTES_AT_ONCE // (4 * x.shape[1] * kind.n_units))
            for part, part_row in zip(x.split(size), row.split(size), strict=True):
                values = kind.read(part)  # [image token unit]
                for ranking, found in best[name].items():
                    found.add(_over_tokens(values, ranking), part_row)
    n_images = np.asarray(len(images))
    return {
        name: {ranking: found.result(n_images) for ranking, found in by_ranking.items()}
        for name, by_ranking in best.items()
    }


@torch.inference_mode()
def token_values(
    images: StoreImages,
    units: Units,
    row: np.ndarray,
    unit: np.ndarray,
    *,
    device: torch.device | str,
) -> np.ndarray:
    """Return [pick, token]: the value of unit[i] at each token (CLS first) of image row[i].

    Args:
        images: holds the manifest rows `row`, which may repeat.
    """
    row, unit = np.asarray(row, dtype=np.int64), np.asarray(unit, dtype=np.int64)
    found: dict[int, np.ndarray] = {}
    for which, x in images.batches(torch.device(device)):
        for i, image in zip(images.rows[which], x, strict=True):
            picks = np.flatnonzero(row == i)
            if len(picks):
                values = units.read(image[None])[0][:, unit[picks]]  # [token pick]
                found |= dict(zip(picks.tolist(), values.T.cpu().numpy(), strict=True))
    if len(found) < len(row):
        lacking = sorted(set(range(len(row))) - found.keys())
        raise ValueError(
            f"{images.store.path} lacks {len(lacking)} of the {len(row)} requested images, e.g. "
            f"manifest row {row[lacking[0]]}. Give the store of the same data set and split."
        )
    return np.stack([found[i] for i in range(len(row))])


def write_top_images(path: Path, found: Mapping[str, Mapping[str, TopImages]]) -> None:
    """Write the result of `measure_top_images` as records named <units>|<ranking> in one .npz."""
    records = {
        f"{name}|{ranking}": top
        for name, by_ranking in found.items()
        for ranking, top in by_ranking.items()
    }
    write_records(path, records)


def _over_tokens(values: Tensor, ranking: str) -> Tensor:
    """Return [image, unit] of [image, token, unit]."""
    if ranking == "cls":
        return values[:, 0]
    return values.mean(1) if ranking == "mean" else values.amax(1)


class _Best:
    """The strongest images of every unit so far, on the device."""

    def __init__(self, n_units: int, k: int, signed: bool, device: torch.device | str) -> None:
        self.value = torch.full((n_units, k), -torch.inf, device=device)
        self.row = torch.full((n_units, k), NO_ROW, device=device)
        self.n_active = torch.zeros(n_units, dtype=torch.int64, device=device)
        self.signed = signed

    def add(self, values: Tensor, row: Tensor) -> None:
        """Add images with `values` [image, unit] and manifest rows `row` [image]."""
        active = values > 0
        self.n_active += active.sum(0)
        if not self.signed:
            values = values.masked_fill(~active, -torch.inf)
        # After a few batches hardly any unit sees an image that enters its list. An image that is
        # as strong as the last of the list may come before it.
        strongest = values.amax(0)
        units = ((strongest >= self.value[:, -1]) & (strongest > -torch.inf)).nonzero()[:, 0]
        if not len(units):
            return
        value = torch.cat([self.value[units], values[:, units].T], 1)
        rows = torch.cat([self.row[units], row.expand(len(units), -1)], 1)
        by_row = rows.argsort(1)
        value, rows = value.gather(1, by_row), rows.gather(1, by_row)
        value, order = value.sort(dim=1, descending=True, stable=True)
        keep = self.value.shape[1]
        value, rows = value[:, :keep], rows.gather(1, order)[:, :keep]
        self.value[units] = value
        self.row[units] = rows.masked_fill(value == -torch.inf, NO_ROW)

    def result(self, n_images: np.ndarray) -> TopImages:
        arrays = (found.cpu().numpy() for found in (self.value, self.row, self.n_active))
        return TopImages(*arrays, n_images)

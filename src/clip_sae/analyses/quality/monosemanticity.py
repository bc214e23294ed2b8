"""Monosemanticity score of every unit, in closed form: a pass over images, not over pairs.

Pach et al. 2025 (arXiv 2504.02821). With a_i the unit's value on image i, scaled to 0…1
over the images, and e_i the image's embedding of unit length,

    MS = Σ_{i<k} a_i a_k ⟨e_i, e_k⟩ / Σ_{i<k} a_i a_k
       = (‖Σ_i a_i e_i‖² − Σ_i a_i²) / ((Σ_i a_i)² − Σ_i a_i²),

because a squared sum holds every pair twice and every image with itself once. The scale of a
cancels, and its offset enters through sums as well, so all units need one pass, and the number of
images enters linearly. The same formula with one-hot vectors of a known factor gives the chance
that two images, drawn by the unit's activation, share it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class SimilaritySpace:
    """Vectors of unit length [image, dimension], by row of the manifest through `place`.

    Attributes:
        name: e.g. "encoder", or a factor's name.
        vectors: [image, dimension] float.
    """

    name: str
    vectors: np.ndarray

    @property
    def floor(self) -> float:
        """Mean similarity of two different images: the score of a unit that is always equal."""
        n = len(self.vectors)
        return float((np.square(self.vectors.sum(0, dtype=np.float64)).sum() - n) / (n * (n - 1)))


class MonosemanticitySums:
    """A watcher that adds up what the score needs, of image-level values (mean over tokens).

    Args:
        rows: [image] manifest row of each vector.
        spaces: each with a vector per image.
    """

    def __init__(
        self,
        rows: np.ndarray,
        spaces: list[SimilaritySpace],
        n_units: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.names = [space.name for space in spaces]
        self._widths = [space.vectors.shape[1] for space in spaces]
        vectors = np.concatenate([space.vectors for space in spaces], 1)
        self._vectors = torch.from_numpy(vectors.astype(np.float64))
        self._place = np.full(int(rows.max()) + 1, -1)
        self._place[rows] = np.arange(len(rows))
        self._n = 0
        zeros = {"dtype": torch.float64, "device": device}
        self._sum, self._square = torch.zeros(n_units, **zeros), torch.zeros(n_units, **zeros)
        self._lowest = torch.full((n_units,), torch.inf, **zeros)
        self._weighted = torch.zeros(n_units, vectors.shape[1], **zeros)
        self._whole = torch.zeros(vectors.shape[1], **zeros)

    def add(self, values: Tensor, row: np.ndarray) -> None:
        inside = row < len(self._place)
        place = np.where(inside, self._place[np.where(inside, row, 0)], -1)
        if place.min(initial=0) < 0:
            raise ValueError(
                f"the image of manifest row {row[place < 0][0]} has no vector. Embed the images "
                f"of the split that is scored."
            )
        value = values.mean(1).double()  # [image unit]
        vectors = self._vectors[torch.from_numpy(place)].to(value.device)
        self._n += len(value)
        self._sum += value.sum(0)
        self._square += value.square().sum(0)
        self._lowest = torch.minimum(self._lowest, value.amin(0))
        self._weighted += value.T @ vectors
        self._whole += vectors.sum(0)

    def scores(self) -> dict[str, np.ndarray]:
        """{space: [unit] score}; NaN for a unit that is above its lowest on fewer than two images.

        The score lies between the lowest and the highest similarity of two images.
        """
        low = self._lowest
        total = self._sum - self._n * low
        square = self._square - 2 * low * self._sum + self._n * low.square()
        weighted = self._weighted - low[:, None] * self._whole  # [unit dimension]
        pairs = total.square() - square
        # One image alone leaves rounding of the two sums behind.
        known = pairs > 1e-9 * total.square()
        parts = weighted.split(self._widths, dim=1)
        return {
            name: torch.where(known, (part.square().sum(1) - square) / pairs, torch.nan)
            .cpu()
            .numpy()
            for name, part in zip(self.names, parts, strict=True)
        }


def clarity(rows: np.ndarray, place: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return [unit]: mean similarity of two different images among a unit's top images.

    Dreyer et al. 2025 (SemanticLens, arXiv 2501.05398): n/(n − 1) (‖mean e‖² − 1/n). NaN for a unit
    with fewer top images than places.

    Args:
        rows: [unit, place] manifest rows, −1 where a unit has fewer; place: [row] position in
            `vectors` [image, dimension], of unit length.
    """
    k = rows.shape[1]
    if k < 2:
        raise ValueError(f"clarity compares top images with each other; {k} was kept, keep 2.")
    found = np.full(len(rows), np.nan)
    whole = np.flatnonzero((rows >= 0).all(1))
    for start in range(0, len(whole), 1024):  # [unit place dimension] would not fit for all
        units = whole[start : start + 1024]
        mean = vectors[place[rows[units]]].mean(1, dtype=np.float64)
        found[units] = k / (k - 1) * (np.square(mean).sum(1) - 1 / k)
    return found

"""Monosemanticity and clarity of every unit, in the space of an encoder or of known factors.

Pach et al. 2025 (arXiv 2504.02821). With a_i the unit's value on image i, scaled to 0…1
over the images, and e_i the image's embedding of unit length,

    MS = Σ_{i<k} a_i a_k ⟨e_i, e_k⟩ / Σ_{i<k} a_i a_k
       = (‖Σ_i a_i e_i‖² − Σ_i a_i²) / ((Σ_i a_i)² − Σ_i a_i²),

because a squared sum holds every pair twice and every image with itself once. The scale of a
cancels, and its offset enters through sums as well, so one pass over the images serves all units.
With one-hot vectors of a known factor, e.g. the demo world's object, colour or background, the
formula gives the chance that two images, drawn by the unit's activation, share it. The factors are
the truth where the encoder's similarity is circular, as for the demo's own CLIP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor


@dataclass(frozen=True)
class SimilaritySpace:
    """Vectors of unit length, one per image.

    Attributes:
        name: e.g. "encoder", or a factor's name.
        vectors: [image, dimension] float.
    """

    name: str
    vectors: np.ndarray

    @property
    def floor(self) -> float:
        """Mean similarity of two different images: the score of a unit that never changes."""
        n = len(self.vectors)
        return float((np.square(self.vectors.sum(0, dtype=np.float64)).sum() - n) / (n * (n - 1)))


class MonosemanticitySums:
    """A watcher that adds up the sums of the score from image-level values (means over tokens).

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
        self._position = np.full(int(rows.max()) + 1, -1)
        self._position[rows] = np.arange(len(rows))
        self._n = 0
        zeros = {"dtype": torch.float64, "device": device}
        self._sum, self._square = torch.zeros(n_units, **zeros), torch.zeros(n_units, **zeros)
        self._lowest = torch.full((n_units,), torch.inf, **zeros)
        self._weighted = torch.zeros(n_units, vectors.shape[1], **zeros)
        self._whole = torch.zeros(vectors.shape[1], **zeros)

    def add(self, values: Tensor, row: np.ndarray) -> None:
        inside = row < len(self._position)
        position = np.where(inside, self._position[np.where(inside, row, 0)], -1)
        if position.min(initial=0) < 0:
            raise ValueError(
                f"the image of manifest row {row[position < 0][0]} has no vector. Embed the images "
                f"of the scored split."
            )
        value = values.mean(1).double()  # [image unit]
        vectors = self._vectors[torch.from_numpy(position)].to(value.device)
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
        # For a unit with a single image, `pairs` is 0 up to rounding.
        known = pairs > 1e-9 * total.square()
        parts = weighted.split(self._widths, dim=1)
        return {
            name: torch.where(known, (part.square().sum(1) - square) / pairs, torch.nan)
            .cpu()
            .numpy()
            for name, part in zip(self.names, parts, strict=True)
        }


def clarity(rows: np.ndarray, position: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return [unit]: mean similarity of two different images among a unit's top images.

    Dreyer et al. 2025 (SemanticLens, arXiv 2501.05398): n/(n − 1) (‖mean e‖² − 1/n). NaN for a unit
    with fewer top images than `rows` has columns.

    Args:
        rows: [unit, rank] manifest rows, −1 where a unit has fewer; position: [row] index into
            `vectors` [image, dimension], of unit length.
    """
    k = rows.shape[1]
    if k < 2:
        raise ValueError(f"clarity compares top images with each other; {k} was kept, keep 2.")
    found = np.full(len(rows), np.nan)
    whole = np.flatnonzero((rows >= 0).all(1))
    for start in range(0, len(whole), 1024):  # [unit rank dimension] of all would not fit
        units = whole[start : start + 1024]
        mean = vectors[position[rows[units]]].mean(1, dtype=np.float64)
        found[units] = k / (k - 1) * (np.square(mean).sum(1) - 1 / k)
    return found


def read_factors(path: Path, columns: Sequence[str], images: pd.Series) -> pd.DataFrame:
    """Return the factors of `images` (paths), in their order.

    Args:
        path: a CSV with a column `path` and one per factor.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [name for name in ("path", *columns) if name not in table]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}; it has {', '.join(table.columns)}. Name others "
            f"under analyses.quality.factors."
        )
    by_path = table.drop_duplicates("path").set_index("path")
    lacking = images[~images.isin(by_path.index)]
    if len(lacking):
        raise ValueError(
            f"{path} lacks {len(lacking)} of {len(images)} images, e.g. {lacking.iloc[0]}. It "
            f"needs a row for every scored image."
        )
    return by_path.loc[images, list(columns)].reset_index(drop=True)


def factor_space(name: str, values: pd.Series) -> SimilaritySpace:
    """Return one-hot vectors: two images have similarity 1 if they share the factor, else 0."""
    codes, known = pd.factorize(values, sort=True)
    return SimilaritySpace(name, np.eye(len(known))[codes])


def factor_spaces(factors: pd.DataFrame) -> list[SimilaritySpace]:
    """Return the space of all factors together, then that of each alone.

    Together, the similarity of two images is the share of factors that they have in common.
    """
    each = [factor_space(name, values) for name, values in factors.items()]
    together = np.concatenate([one.vectors for one in each], 1) / np.sqrt(len(each))
    return [SimilaritySpace("factors", together), *each]

"""Known factors of the images, e.g. the demo world's object, colour and background, as vectors.

Beside an encoder's similarity, which for the demo's own CLIP is circular, these are the truth.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.quality.monosemanticity import SimilaritySpace


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
            f"needs a row for every image that is scored."
        )
    return by_path.loc[images, list(columns)].reset_index(drop=True)


def factor_space(name: str, values: pd.Series) -> SimilaritySpace:
    """One-hot vectors: the similarity of two images is 1 if they share the factor, else 0."""
    codes, known = pd.factorize(values, sort=True)
    return SimilaritySpace(name, np.eye(len(known))[codes])


def factor_spaces(factors: pd.DataFrame) -> list[SimilaritySpace]:
    """All factors together, then each alone.

    Together, the similarity of two images is the share of the factors that are equal.
    """
    each = [factor_space(name, values) for name, values in factors.items()]
    together = np.concatenate([one.vectors for one in each], 1) / np.sqrt(len(each))
    return [SimilaritySpace("factors", together), *each]

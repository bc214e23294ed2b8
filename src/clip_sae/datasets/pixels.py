"""Decode rows of a manifest to pixels, as extraction does; the only way to do so. No torch."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from clip_sae.datasets.images import decode_image
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import ImageFiles


def pixels_of(images: ImageFiles, rows: pd.DataFrame, **decoding: object) -> np.ndarray:
    """Decode rows of a manifest: uint8 [image, height, width, channel].

    Args:
        rows: with `path`, `operation` and `parameter`; the last two turn, mirror or crop the images
            of an augmented set.
        decoding: replaces values of the set's own decoding, e.g. the size.
    """
    return np.stack([*each_image(images, rows, **decoding)])


def each_image(images: ImageFiles, rows: pd.DataFrame, **decoding: object) -> Iterable[np.ndarray]:
    """Yield uint8 [height, width, channel] for each row of a manifest, in order."""
    for row in rows.itertuples():
        yield decode_row(images, row, **decoding)


def decode_row(images: ImageFiles, row, **decoding: object) -> np.ndarray:
    """Decode one row of `rows.itertuples()`: uint8 [height, width, channel]."""
    how = {**images.decoding, **decoding}
    return decode_image(
        images.root / row.path, operation=row.operation, parameter=row.parameter, **how
    )


def pixels_by_row(images: ImageFiles, rows: Iterable[int]) -> dict[int, np.ndarray]:
    """Decode manifest rows by number: {row: uint8 [height, width, channel]}."""
    manifest = read_manifest(images.index).loc[sorted(set(rows))]
    pixels = each_image(images, manifest)
    return {int(row): image for row, image in zip(manifest.index, pixels, strict=True)}

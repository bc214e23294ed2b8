"""Pixels of images that a figure shows; no torch."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from clip_sae.datasets import decode_image, read_manifest


def pixels_of(place: Mapping, rows: Iterable[int]) -> dict[int, np.ndarray]:
    """{manifest row: uint8 [height, width, channel]}, as CLIP sees the images."""
    manifest = read_manifest(Path(place["index"])).loc[sorted(set(rows))]
    return {
        int(row.Index): decode_image(
            Path(place["root"]) / row.path,
            operation=row.operation,
            parameter=row.parameter,
            **place["decoding"],
        )
        for row in manifest.itertuples()
    }

"""Tiny data sets, drawn here, in the layouts of the real ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_sae.datasets.index import index_dataset


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Write one small image, different for every path name, and return its path."""

    def write(path: Path, size: tuple[int, int] = (12, 10), mode: str = "RGB", **save) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = int.from_bytes(path.name.encode()[-6:], "little")
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(path, **save)
        return path

    return write


@pytest.fixture
def index() -> Callable:
    """index_dataset without a progress bar."""

    def call(kind: str, root: Path, **arguments):
        return index_dataset(kind, root, progress=False, **arguments)

    return call


@pytest.fixture
def two_classes(tmp_path, picture) -> Path:
    """The demo's general layout: two classes, two splits, and masks next to them."""
    for split, n in (("train", 3), ("val", 2)):
        for label in ("cat", "traffic_light"):
            for i in range(n):
                picture(tmp_path / "general" / split / label / f"{i}.png")
    picture(tmp_path / "general" / "masks" / "train" / "cat" / "0.png")
    return tmp_path / "general"

"""Small synthetic tables, and the house style on for every figure."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from clip_sae.analyses.concepts import draw as concepts
from clip_sae.analyses.pictures import draw as pictures
from clip_sae.analyses.pictures import draw_top_images as top_images
from clip_sae.plotting import theme

RESOURCES = Path(__file__).parents[2] / "workflow" / "resources"


@pytest.fixture(autouse=True)
def style():
    theme.use_style(RESOURCES / "style.mplstyle")


@pytest.fixture
def resources():
    return RESOURCES


@pytest.fixture
def csv(tmp_path):
    """Write a table to a CSV of its own and return the path, as steps receive it."""
    numbers = itertools.count()

    def write(table):
        path = tmp_path / f"{next(numbers)}.csv"
        table.to_csv(path, index=False)
        return path

    return write


@pytest.fixture
def texts():
    """Return the function that lists all texts of a figure."""
    return lambda figure: [t.get_text() for t in figure.findobj(Text) if t.get_text()]


@pytest.fixture
def decoded(monkeypatch):
    """Give every row of a manifest pixels of its own; return the function that makes them."""

    def image(row):
        return np.random.default_rng(int(row)).integers(0, 256, (14, 14, 3), np.uint8)

    def pixels_by_row(images, rows):
        return {int(row): image(row) for row in rows}

    for module in (concepts, pictures, top_images):
        monkeypatch.setattr(module, "pixels_by_row", pixels_by_row)
    return image

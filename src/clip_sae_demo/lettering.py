"""Write a word across an image: the typographic attack of the demo world."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from clip_sae.datasets.attack.lettered import FONTS, font
from clip_sae_demo.world import IMAGE_SIZE

FONT_SIZES = (13, 20)  # px, both included; below 13 the letters melt at 56 px
MARGIN = 1  # px kept free between a word and the edge

INKS = {
    "white": (250, 250, 250),
    "black": (12, 12, 12),
    "yellow": (250, 226, 40),
    "red": (190, 20, 20),
    "blue": (20, 40, 170),
}
_LIGHT_INKS = ("white", "yellow")


@dataclass(frozen=True)
class WrittenWord:
    """The look of a word; `box` is left, top, right, bottom in px, right and bottom outside."""

    word: str
    font: str
    size: int  # px
    colour: str
    box: tuple[int, int, int, int]


@cache
def _fitting_size(word: str, name: str, size: int) -> int:
    """Return the largest size up to `size` at which the word and its outline fit into the image."""
    while size > 8:
        left, _, right, _ = font(name, size).getbbox(word, stroke_width=1)
        if right - left <= IMAGE_SIZE - 2 * MARGIN:
            break
        size -= 1
    return size


def write_word(image: np.ndarray, word: str, rng: np.random.Generator) -> WrittenWord:
    """Write `word` into `image` (uint8 [y, x, rgb], changed in place) at a random place."""
    name = FONTS[rng.integers(len(FONTS))]
    size = _fitting_size(word, name, int(rng.integers(FONT_SIZES[0], FONT_SIZES[1] + 1)))
    colour = list(INKS)[rng.integers(len(INKS))]
    outlined = rng.random() < 0.85
    stroke = 1 if outlined else 0
    left, top, right, bottom = font(name, size).getbbox(word, stroke_width=stroke)
    width, height = right - left, bottom - top
    x = int(rng.integers(MARGIN, max(MARGIN, IMAGE_SIZE - MARGIN - width) + 1))
    y = int(rng.integers(MARGIN, max(MARGIN, IMAGE_SIZE - MARGIN - height) + 1))

    picture = Image.fromarray(image)
    ImageDraw.Draw(picture).text(
        (x - left, y - top),
        word,
        font=font(name, size),
        fill=INKS[colour],
        stroke_width=stroke,
        stroke_fill=INKS["black"] if colour in _LIGHT_INKS else INKS["white"],
    )
    image[:] = np.asarray(picture)
    return WrittenWord(word, name, size, colour, (x, y, x + width, y + height))

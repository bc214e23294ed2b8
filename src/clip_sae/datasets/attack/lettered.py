"""The synthetic typographic attack: another class's name written across an image.

Steering paper §7.2 (D_T: ImageNet-100 with words written on it), after Defense-Prefix's generator:
random font, colour, outline, size and position, one word that is not the image's class. Each image
has a random generator of its own, named by its path, so that workers and order change nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
)
COLOURS = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
}
LEAST_SIZE = 6  # px; smaller letters are dots
OUTLINE = 1 / 224  # of the image's side: 1 px where the generator's images have 224


@cache
def _font_dir() -> Path:
    # The module is located, not imported: pyplot's import costs more than a thousand images.
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "words are written in the DejaVu fonts that come with matplotlib, and matplotlib "
            "is not installed; run: pip install matplotlib"
        )
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font of `FONTS` at a size in px."""
    # The basic layout engine gives the same pixels with and without libraqm.
    path = _font_dir() / f"{name}.ttf"
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@dataclass(frozen=True)
class Attack:
    """A written word; `box` is left, top, right, bottom in px, right and bottom outside.

    `label_idx` is the class of that name, `text` the name as written, lines joined by "\\n".
    """

    label_idx: int
    text: str
    font: str
    size: int
    colour: str
    outline: str
    box: tuple[int, int, int, int]


def attack_rng(seed: int, path: str) -> np.random.Generator:
    """Return the random generator of one image, named by its path in the data set."""
    digest = hashlib.blake2b(f"{seed}/{path}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def attack_image(
    pixels: np.ndarray,
    label_idx: int,
    names: Sequence[str],
    rng: np.random.Generator,
    *,
    font_size: tuple[float, float] = (20 / 224, 40 / 224),
) -> tuple[np.ndarray, Attack]:
    """Return the image with the name of another class written on it, and a record of the word.

    Args:
        pixels: uint8 [y, x, rgb], as CLIP sees it; not changed.
        names: prompt name of each class; `label_idx` is the image's own.
        font_size: least and greatest size, in shares of the image's shorter side. A text that does
            not fit becomes smaller.

    Raises ValueError if all classes have the same name.
    """
    others = [i for i, name in enumerate(names) if name != names[label_idx]]
    if not others:
        raise ValueError(f"all classes have the name {names[label_idx]!r}, so none can be written.")
    height, width = pixels.shape[:2]
    word_idx = others[int(rng.integers(len(others)))]
    text = broken_lines(names[word_idx])
    name = FONTS[int(rng.integers(len(FONTS)))]
    colour, outline = (list(COLOURS)[i] for i in rng.choice(len(COLOURS), size=2, replace=False))
    least, greatest = (round(share * min(height, width)) for share in font_size)
    stroke = max(1, round(OUTLINE * min(height, width)))
    size, box = _fitting(text, name, int(rng.integers(least, greatest + 1)), stroke, width, height)
    left, top, right, bottom = box
    x = int(rng.integers(0, max(0, width - (right - left)) + 1))
    y = int(rng.integers(0, max(0, height - (bottom - top)) + 1))
    picture = Image.fromarray(pixels)
    ImageDraw.Draw(picture).text(
        (x - left, y - top),
        text,
        font=font(name, size),
        fill=COLOURS[colour],
        stroke_width=stroke,
        stroke_fill=COLOURS[outline],
    )
    box = (x, y, min(width, x + right - left), min(height, y + bottom - top))
    return np.array(picture), Attack(word_idx, text, name, size, colour, outline, box)


def broken_lines(name: str) -> str:
    """Return the name in one or two lines: of two or three words, the first has one to itself."""
    words = name.split()
    after = 0 if len(words) < 2 else 1 if len(words) < 4 else 2
    return "\n".join(" ".join(part) for part in (words[:after], words[after:]) if part)


def _fitting(
    text: str, name: str, size: int, stroke: int, width: int, height: int
) -> tuple[int, tuple[int, int, int, int]]:
    """Return the largest size up to `size` that fits, and the box of the text drawn at (0, 0)."""
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    while True:
        box = ruler.textbbox((0, 0), text, font=font(name, size), stroke_width=stroke)
        left, top, right, bottom = (round(edge) for edge in box)
        if (right - left <= width and bottom - top <= height) or size <= LEAST_SIZE:
            return size, (left, top, right, bottom)
        size -= 1

"""The parts of the demo world: object classes, colours, backgrounds, and one seed per image.

The world stands in for ImageNet, RTA-100, Waterbirds and CelebA, so that every stage runs without
a download. It is drawn at 56 px because the demo CLIP has a 7 x 7 grid of 8 px patches: with CLS
50 tokens, the geometry of ViT-B/32 at 224 px.
"""

import hashlib

import numpy as np

IMAGE_SIZE = 56  # px; 7 patches of 8 px
CANVAS_SIZE = 2 * IMAGE_SIZE  # px; shapes are drawn twice as large and halved, which smooths edges
SUPERSAMPLING = CANVAS_SIZE // IMAGE_SIZE

# Short names, so that a written word stays readable across 56 px.
_OBJECTS = (
    "sun star heart moon tree house car boat fish cup key bell leaf cloud flag kite ring arrow "
    "cross cat lamp book crown clock"
)
OBJECTS = tuple(_OBJECTS.split())

# RGB, 0-255. Saturated: the backgrounds are muted, so colour words stay unambiguous.
COLOURS = {
    "red": (214, 38, 38),
    "green": (44, 156, 54),
    "blue": (40, 82, 214),
    "yellow": (240, 214, 40),
    "purple": (142, 50, 176),
    "orange": (242, 134, 26),
    "white": (244, 244, 244),
    "black": (26, 26, 28),
}

BACKGROUNDS = ("plain", "striped", "dotted", "checked", "wavy", "speckled")

# Muted base tones of the backgrounds, RGB 0-255; none is close to an object's colour.
BACKGROUND_TONES = (
    (168, 160, 148),
    (140, 156, 164),
    (160, 172, 150),
    (178, 156, 162),
    (150, 146, 172),
    (126, 132, 126),
    (186, 176, 142),
)


def scene_rng(seed: int, *key: str | int) -> np.random.Generator:
    """Return the random generator of one image, named by (set, split, index, ...) alone.

    The hash of the name makes drawing independent of order and of the number of workers.
    """
    name = "/".join(str(part) for part in (seed, *key)).encode()
    digest = hashlib.blake2b(name, digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))

"""Birds of two families on two kinds of ground: the drawn stand-in for Waterbirds.

The families differ in shape (neck, bill, legs), not in plumage: both share the palette, so that the
ground is the only shortcut.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clip_sae_demo.pen import Pen, Tone, Tones
from clip_sae_demo.scenes import colour_tones, expose, to_tone
from clip_sae_demo.world import CANVAS_SIZE, IMAGE_SIZE

FAMILIES = ("landbird", "waterbird")  # index = `y` of the official metadata
PLACES = ("land", "water")  # index = `place` of the official metadata
# Scenery per place, named as in Places, from which the official backgrounds come.
SCENERY = {"land": ("bamboo_forest", "forest_broadleaf"), "water": ("ocean", "lake_natural")}

PLUMAGE = {
    "brown": (132, 88, 52),
    "white": (238, 238, 234),
    "grey": (128, 130, 136),
    "black": (34, 34, 40),
    "red": (196, 52, 44),
    "yellow": (226, 196, 60),
}
BIRD_SIZES = (0.55, 0.90)  # side of the bird's square, as a fraction of the frame

BILL = (232, 150, 40)
EYE = (12, 12, 12)


@dataclass(frozen=True)
class BirdScene:
    """A drawn bird; `size` is the side of its square as a fraction of the frame."""

    image: np.ndarray  # uint8 [y, x, rgb]
    family: str
    species: str
    place: str
    scenery: str
    size: float


def _songbird(pen: Pen, t: Tones, crest: bool, tail: float, bill: float) -> None:
    """Round body, no neck, short bill, short legs."""
    pen.polygon(t.dark, (0.35, 0.0), (0.55 + tail, 0.42), (0.45 + tail, 0.6), (0.2, 0.35))
    for x in (-0.12, 0.14):
        pen.line(BILL, 0.08, (x, 0.55), (x - 0.05, 0.95))
    pen.ellipse(t.main, 0.02, 0.16, 0.56, 0.5)
    pen.ellipse(t.light, -0.2, 0.3, 0.26, 0.3)
    pen.ellipse(t.dark, 0.2, 0.12, 0.3, 0.22)
    if crest:
        pen.polygon(t.main, (-0.62, -0.5), (-0.1, -1.0), (-0.1, -0.4))
    pen.ellipse(t.main, -0.36, -0.36, 0.36)
    pen.polygon(BILL, (-0.68, -0.42), (-0.7 - bill, -0.28), (-0.66, -0.2))
    pen.ellipse(EYE, -0.44, -0.42, 0.08)


def _wader(pen: Pen, t: Tones, neck: float, bill: float) -> None:
    """Small body high on long legs, long thin neck, long bill."""
    for x in (0.1, 0.3):
        pen.line(BILL, 0.08, (x, 0.3), (x - 0.04, 1.0))
    pen.ellipse(t.main, 0.24, 0.16, 0.5, 0.28)
    pen.polygon(t.dark, (0.1, 0.05), (0.95, 0.2), (0.55, 0.42), (0.2, 0.36))
    pen.line(t.main, 0.17, (-0.1, 0.16), (-0.34, -0.1), (-0.22, -0.4), (-0.3, -neck))
    pen.ellipse(t.main, -0.36, -neck, 0.2, 0.15)
    pen.polygon(BILL, (-0.5, -neck - 0.08), (-0.55 - bill, -neck + 0.1), (-0.48, -neck + 0.08))
    pen.ellipse(EYE, -0.4, -neck - 0.03, 0.06)


def _swimmer(pen: Pen, t: Tones, neck: float, bill: float) -> None:
    """Boat-shaped body without legs, upright neck, broad flat bill."""
    pen.polygon(
        t.main, (-0.7, 0.3), (0.6, 0.2), (1.0, -0.05), (0.8, 0.6), (0.4, 0.82), (-0.4, 0.82)
    )
    pen.ellipse(t.dark, 0.2, 0.42, 0.42, 0.22)
    pen.line(t.main, 0.28, (-0.48, 0.4), (-0.56, 0.1), (-0.42, -neck))
    pen.ellipse(t.main, -0.46, -neck, 0.26, 0.22)
    pen.polygon(
        BILL, (-0.64, -neck - 0.08), (-0.66 - bill, -neck + 0.06), (-0.64 - bill, -neck + 0.16),
        (-0.62, -neck + 0.14),
    )  # fmt: skip
    pen.ellipse(EYE, -0.5, -neck - 0.05, 0.07)


@dataclass(frozen=True)
class Species:
    """A folder of the data set: family, drawing and usual plumage."""

    name: str
    family: str
    plumage: tuple[str, ...]
    draw: Callable[[Pen, Tones], None]


SPECIES = (
    Species("Sparrow", "landbird", ("brown", "grey"),
            lambda pen, t: _songbird(pen, t, crest=False, tail=0.3, bill=0.14)),
    Species("Heron", "waterbird", ("grey", "white", "brown"),
            lambda pen, t: _wader(pen, t, neck=0.78, bill=0.4)),
    Species("Cardinal", "landbird", ("red", "brown"),
            lambda pen, t: _songbird(pen, t, crest=True, tail=0.4, bill=0.16)),
    Species("Duck", "waterbird", ("brown", "black", "white"),
            lambda pen, t: _swimmer(pen, t, neck=0.22, bill=0.3)),
    Species("Finch", "landbird", ("yellow", "black", "white"),
            lambda pen, t: _songbird(pen, t, crest=False, tail=0.2, bill=0.22)),
    Species("Flamingo", "waterbird", ("red", "yellow"),
            lambda pen, t: _wader(pen, t, neck=0.7, bill=0.24)),
    Species("Wren", "landbird", ("brown", "grey", "white"),
            lambda pen, t: _songbird(pen, t, crest=False, tail=0.1, bill=0.3)),
    Species("Swan", "waterbird", ("white", "black", "grey"),
            lambda pen, t: _swimmer(pen, t, neck=0.68, bill=0.26)),
)  # fmt: skip


def draw_bird(rng: np.random.Generator, species: Species, place: str) -> BirdScene:
    """Draw one bird of a species on a place."""
    scenery = SCENERY[place][rng.integers(2)]
    ground = draw_place(rng, scenery)
    size = rng.uniform(*BIRD_SIZES)
    half_size = 0.5 * CANVAS_SIZE * size
    slack = max(0.0, 0.5 * CANVAS_SIZE - 0.95 * half_size)
    x, y = 0.5 * CANVAS_SIZE + rng.uniform(-slack, slack, size=2)
    pen = Pen(
        (x, y),
        half_size,
        tilt=rng.uniform(-10, 10),
        flip=rng.random() < 0.5,
        aspect=rng.uniform(0.93, 1.07),
    )
    plumage = species.plumage[rng.integers(len(species.plumage))]
    species.draw(pen, colour_tones(rng, PLUMAGE[plumage]))
    pixels, _ = pen.paint_over(ground)
    return BirdScene(expose(rng, pixels), species.family, species.name, place, scenery, size)


def draw_place(rng: np.random.Generator, scenery: str) -> np.ndarray:
    """Return land or water without a bird, float32 [y, x, rgb] in 0-255."""
    return _PLACE_DRAWERS[scenery](rng)


def _gradient(rng: np.random.Generator, top: Tone, bottom: Tone) -> np.ndarray:
    weight = np.linspace(0, 1, IMAGE_SIZE, dtype=np.float32)[:, None, None]
    jitter = rng.normal(0, 8, size=3).astype(np.float32)
    rows = np.float32(top) * (1 - weight) + np.float32(bottom) * weight + jitter
    return np.broadcast_to(rows, (IMAGE_SIZE, IMAGE_SIZE, 3)).copy()


def _stand(
    rng: np.random.Generator,
    n: int,
    width: float,
    trunk: Tone,
    crown: Tone | None,
    ground: np.ndarray,
) -> np.ndarray:
    """Draw trees over the whole frame: straight trunks, and crowns if `crown` is given."""
    pen = Pen((CANVAS_SIZE / 2, CANVAS_SIZE / 2), CANVAS_SIZE / 2)
    for x in np.linspace(-0.95, 0.95, n) + rng.normal(0, 0.07, size=n):
        shade = 1.0 + rng.normal(0, 0.12)
        pen.box(to_tone(np.array(trunk) * shade), x - width, -1.0, x + width, 0.85)
        if crown is not None:
            tone = to_tone(np.array(crown) * shade)
            pen.ellipse(tone, x, -0.65 + rng.normal(0, 0.12), 0.34, 0.42)
    return pen.paint_over(ground)[0]


def _bamboo_forest(rng: np.random.Generator) -> np.ndarray:
    ground = _gradient(rng, (58, 92, 48), (104, 98, 60))
    return _stand(rng, int(rng.integers(6, 10)), 0.06, (120, 150, 70), None, ground)


def _forest_broadleaf(rng: np.random.Generator) -> np.ndarray:
    ground = _gradient(rng, (120, 150, 110), (92, 118, 52))
    return _stand(rng, int(rng.integers(4, 7)), 0.07, (92, 64, 42), (56, 104, 46), ground)


def _waves(
    rng: np.random.Generator, horizon: int, sky: Tone, sea: Tone, pitch: float, height: float
) -> np.ndarray:
    """Return sky above a horizon (px from the top), rows of wave crests below."""
    y, x = np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE].astype(np.float32)
    bend = np.float32(1.6) * np.sin((x + rng.uniform(0, 20)) * np.float32(2 * np.pi / 13))
    crest = ((y + bend + rng.uniform(0, pitch)) % pitch < pitch * 0.3)[..., None]
    water = np.float32(sea) + np.float32(height) * crest
    picture = np.where((y < horizon)[..., None], np.float32(sky), water)
    return picture + rng.normal(0, 8, size=3).astype(np.float32)


def _ocean(rng: np.random.Generator) -> np.ndarray:
    return _waves(
        rng, int(rng.integers(6, 20)), (168, 196, 222), (38, 82, 142), rng.uniform(6.5, 9.5), 55.0
    )


def _lake_natural(rng: np.random.Generator) -> np.ndarray:
    return _waves(
        rng, int(rng.integers(0, 10)), (196, 210, 214), (88, 142, 176), rng.uniform(4.5, 7.0), 30.0
    )


_PLACE_DRAWERS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "bamboo_forest": _bamboo_forest,
    "forest_broadleaf": _forest_broadleaf,
    "ocean": _ocean,
    "lake_natural": _lake_natural,
}

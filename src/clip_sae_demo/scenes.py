"""One scene of the demo world: an object of a class and colour on a textured background."""

from dataclasses import dataclass

import numpy as np

from clip_sae_demo.lettering import WrittenWord, write_word
from clip_sae_demo.pen import Pen, Tone, Tones
from clip_sae_demo.shapes import DRAWERS
from clip_sae_demo.world import (
    BACKGROUND_TONES,
    BACKGROUNDS,
    CANVAS_SIZE,
    COLOURS,
    IMAGE_SIZE,
    OBJECTS,
)

OBJECT_SIZES = (0.55, 0.85)  # side of the object's square, as a fraction of the frame
MAX_TILT = 20.0  # degrees
NOISE = (2.0, 9.0)  # standard deviation of the pixel noise, grey levels of 255
BRIGHTNESS = (0.85, 1.12)  # factor on all pixels

_Y, _X = np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE].astype(np.float32)  # [y, x] px


@dataclass(frozen=True)
class Scene:
    """A drawn image and its contents."""

    image: np.ndarray  # uint8 [y, x, rgb]
    mask: np.ndarray  # bool [y, x]; True on the object, also where a word covers it
    object_name: str
    colour: str
    background: str
    written: WrittenWord | None = None


def draw_scene(
    rng: np.random.Generator, object_name: str | None = None, word: str | None = None
) -> Scene:
    """Draw one scene; the class is random unless given, a word is written only if given."""
    if object_name is None:
        object_name = OBJECTS[rng.integers(len(OBJECTS))]
    colour = list(COLOURS)[rng.integers(len(COLOURS))]
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    ground = draw_background(rng, background)
    pen = place_pen(rng)
    DRAWERS[object_name](pen, colour_tones(rng, COLOURS[colour]))
    pixels, cover = pen.paint_over(ground)
    image = expose(rng, pixels)
    written = write_word(image, word, rng) if word is not None else None
    return Scene(image, cover > 0.5, object_name, colour, background, written)


def place_pen(rng: np.random.Generator) -> Pen:
    """Return a pen with random position, size, tilt and side, kept almost inside the frame."""
    half_size = 0.5 * CANVAS_SIZE * rng.uniform(*OBJECT_SIZES)
    slack = max(0.0, 0.5 * CANVAS_SIZE - 0.92 * half_size)
    x, y = 0.5 * CANVAS_SIZE + rng.uniform(-slack, slack, size=2)
    return Pen(
        (x, y),
        half_size,
        tilt=rng.uniform(-MAX_TILT, MAX_TILT),
        flip=rng.random() < 0.5,
        aspect=rng.uniform(0.93, 1.07),
    )


def colour_tones(rng: np.random.Generator, colour: Tone) -> Tones:
    """Return a jittered main tone with a darker and a lighter relative."""
    main = np.clip(np.asarray(colour) + rng.normal(0.0, 9.0, size=3), 0, 255)
    # The "dark" details of a dark main tone are grey, or they would vanish in it.
    dark = main * 0.5 if main.mean() > 60 else main * 0.4 + 70
    light = main * 0.35 + 255 * 0.65 if main.mean() < 215 else main * 0.55 + 60
    return Tones(to_tone(main), to_tone(dark), to_tone(light))


def to_tone(rgb: np.ndarray) -> Tone:
    red, green, blue = (int(value) for value in np.clip(rgb, 0, 255))
    return red, green, blue


def draw_background(rng: np.random.Generator, name: str) -> np.ndarray:
    """Return a texture of two muted tones, float32 [y, x, rgb] in 0-255."""
    tone = np.asarray(BACKGROUND_TONES[rng.integers(len(BACKGROUND_TONES))], dtype=np.float32)
    tone = tone + rng.normal(0.0, 8.0, size=3).astype(np.float32)
    contrast = rng.uniform(22.0, 42.0) * (1.0 if rng.random() < 0.5 else -1.0)
    pattern = _PATTERNS[name](rng)  # [y, x] in 0-1
    return tone + np.float32(contrast) * pattern[..., None]


def expose(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Apply brightness and pixel noise; float32 [y, x, rgb] to uint8."""
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    noisy = pixels * np.float32(rng.uniform(*BRIGHTNESS)) + noise * np.float32(rng.uniform(*NOISE))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _along(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates along and across a random direction, px, with a random origin."""
    angle = rng.uniform(0.0, np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = rng.uniform(0.0, IMAGE_SIZE, size=2).astype(np.float32)
    return cos * (_X + dx) + sin * (_Y + dy), cos * (_Y + dy) - sin * (_X + dx)


def _plain(rng: np.random.Generator) -> np.ndarray:
    return np.zeros_like(_X)


def _striped(rng: np.random.Generator) -> np.ndarray:
    along, _ = _along(rng)
    return (along % rng.uniform(7.0, 11.0) < 4.0).astype(np.float32)


def _dotted(rng: np.random.Generator) -> np.ndarray:
    along, across = _along(rng)
    pitch = rng.uniform(8.0, 11.0)
    u, v = along % pitch - pitch / 2, across % pitch - pitch / 2
    return (u * u + v * v < rng.uniform(5.0, 8.0)).astype(np.float32)


def _checked(rng: np.random.Generator) -> np.ndarray:
    along, across = _along(rng)
    side = rng.uniform(5.0, 8.0)
    return (np.floor(along / side) + np.floor(across / side)) % 2


def _wavy(rng: np.random.Generator) -> np.ndarray:
    along, across = _along(rng)
    bend = 3.0 * np.sin(across * np.float32(2 * np.pi / rng.uniform(14.0, 20.0)))
    return ((along + bend) % rng.uniform(9.0, 12.0) < 4.0).astype(np.float32)


def _speckled(rng: np.random.Generator) -> np.ndarray:
    coarse = rng.random((IMAGE_SIZE // 2, IMAGE_SIZE // 2)) < 0.25
    return coarse.repeat(2, axis=0).repeat(2, axis=1).astype(np.float32)


_PATTERNS = {
    "plain": _plain,
    "striped": _striped,
    "dotted": _dotted,
    "checked": _checked,
    "wavy": _wavy,
    "speckled": _speckled,
}

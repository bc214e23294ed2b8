"""Drawn faces: the stand-in for CelebA, with gender as target and hair colour as its shortcut.

Gender has several weak cues (beard, jaw, brows, length of hair, lips), and each can be missing, so
that hair colour is the only clean and easy cue.
"""

from dataclasses import dataclass

import numpy as np

from clip_sae_demo.pen import Pen
from clip_sae_demo.scenes import expose, to_tone
from clip_sae_demo.world import CANVAS_SIZE, IMAGE_SIZE

HAIR = {
    "Blond_Hair": (232, 206, 108),
    "Black_Hair": (30, 26, 26),
    "Brown_Hair": (96, 60, 34),
    "Gray_Hair": (150, 150, 152),
}
_DARK_HAIR = ("Black_Hair", "Brown_Hair", "Gray_Hair")
_DARK_SHARES = (0.5, 0.4, 0.1)
_SKIN = ((250, 218, 192), (236, 190, 156), (206, 152, 112), (150, 100, 68), (108, 70, 48))
_WALLS = ((92, 104, 128), (150, 140, 132), (70, 84, 78), (176, 182, 190), (126, 86, 88))


@dataclass(frozen=True)
class FaceScene:
    """A drawn face; `attributes` are those that the drawing decides, under CelebA's names."""

    image: np.ndarray  # uint8 [y, x, rgb]
    male: bool
    blond: bool
    attributes: dict[str, bool]


def draw_face(rng: np.random.Generator, male: bool, blond: bool) -> FaceScene:
    """Draw one face of a gender with blond or other hair."""
    hair = "Blond_Hair" if blond else str(rng.choice(_DARK_HAIR, p=_DARK_SHARES))
    beard = bool(male and rng.random() < 0.45)
    long_hair = bool(rng.random() < (0.2 if male else 0.72))
    thick_brows = bool(rng.random() < (0.8 if male else 0.15))
    red_lips = bool(rng.random() < (0.03 if male else 0.6))
    glasses = bool(rng.random() < 0.1)
    smiling = bool(rng.random() < 0.5)
    bangs = bool(rng.random() < 0.25)
    jaw = rng.normal(0.56 if male else 0.44, 0.04)

    pen = Pen(
        tuple(0.5 * CANVAS_SIZE + rng.uniform(-5, 5, size=2) + (0, 4)),
        0.5 * CANVAS_SIZE * rng.uniform(0.8, 0.95),
        tilt=rng.uniform(-10, 10),
        flip=rng.random() < 0.5,
    )
    skin = np.array(_SKIN[rng.integers(len(_SKIN))]) + rng.normal(0, 6, size=3)
    tone = to_tone(skin)
    shade = to_tone(skin * 0.75)
    hair_tone = to_tone(np.array(HAIR[hair]) + rng.normal(0, 8, size=3))
    brow_tone = to_tone(np.array(HAIR[hair]) * 0.6)

    pen.ellipse(hair_tone, 0, -0.28, 0.66, 0.64)
    if long_hair:
        pen.polygon(hair_tone, (-0.66, -0.3), (0.66, -0.3), (0.8, 0.8), (-0.8, 0.8))
    cloth = to_tone(rng.uniform(30, 220, size=3))
    pen.polygon(
        cloth, (-0.95, 1.3), (-0.8, 0.88), (-0.2, 0.74), (0.2, 0.74), (0.8, 0.88), (0.95, 1.3)
    )
    pen.box(shade, -0.2, 0.4, 0.2, 0.85)
    pen.ellipse(tone, 0, -0.1, 0.53, 0.58)
    pen.polygon(
        tone, (-0.53, -0.1), (0.53, -0.1), (jaw, 0.42), (0.24, 0.68), (-0.24, 0.68), (-jaw, 0.42)
    )
    if beard:
        beard_tone = to_tone(np.array(HAIR[hair]) * 0.85)
        pen.polygon(
            beard_tone, (-jaw - 0.03, 0.1), (-jaw, 0.45), (-0.26, 0.74), (0.26, 0.74), (jaw, 0.45),
            (jaw + 0.03, 0.1), (0.3, 0.24), (-0.3, 0.24),
        )  # fmt: skip
    # Hairline: a cap over the forehead, lower with bangs.
    line = -0.3 if bangs else -0.42
    pen.polygon(
        hair_tone, (-0.58, -0.3), (-0.45, -0.68), (0, -0.84), (0.45, -0.68), (0.58, -0.3),
        (0.42, line), (-0.42, line),
    )  # fmt: skip
    for side in (-1, 1):
        pen.ellipse((245, 245, 245), 0.24 * side, -0.06, 0.12, 0.08)
        pen.ellipse((30, 30, 40), 0.24 * side, -0.06, 0.06, 0.075)
        pen.line(brow_tone, 0.1 if thick_brows else 0.045, (0.1 * side, -0.2), (0.38 * side, -0.23))
        if glasses:
            pen.line(
                (20, 20, 20),
                0.05,
                *(
                    (0.24 * side + 0.16 * np.cos(a), -0.06 + 0.14 * np.sin(a))
                    for a in np.linspace(0, 2 * np.pi, 12)
                ),
            )
    if glasses:
        pen.line((20, 20, 20), 0.05, (-0.08, -0.06), (0.08, -0.06))
    pen.line(shade, 0.06, (0.02, 0.0), (0.07, 0.2), (-0.03, 0.2))
    lips = (186, 40, 58) if red_lips else to_tone(skin * (0.72, 0.5, 0.5))
    corner = 0.36 if smiling else 0.41
    pen.line(lips, 0.11 if red_lips else 0.07, (-0.2, corner), (0, 0.43), (0.2, corner))

    wall = np.float32(_WALLS[rng.integers(len(_WALLS))]) + rng.normal(0, 10, size=3)
    ground = np.broadcast_to(wall, (IMAGE_SIZE, IMAGE_SIZE, 3)).astype(np.float32)
    pixels, _ = pen.paint_over(ground)
    attributes = {name: name == hair for name in HAIR} | {
        "Male": male,
        "No_Beard": not beard,
        "Goatee": beard and bool(rng.random() < 0.2),
        "Bushy_Eyebrows": thick_brows,
        "Wearing_Lipstick": red_lips,
        "Eyeglasses": glasses,
        "Smiling": smiling,
        "Bangs": bangs,
    }
    return FaceScene(expose(rng, pixels), male, blond, attributes)

"""The 24 object classes of the demo world, each a few filled parts in unit coordinates.

Most of a drawing's area has the main tone, so that its colour word holds. Each class has its own
silhouette, so that it can be recognised in any colour and on any background.
"""

from collections.abc import Callable

import numpy as np

from clip_sae_demo.pen import Pen, Tones
from clip_sae_demo.world import OBJECTS


def _star(n: int, outer: float, inner: float) -> list[tuple[float, float]]:
    angles = np.arange(2 * n) * np.pi / n - np.pi / 2
    radii = np.where(np.arange(2 * n) % 2 == 0, outer, inner)
    return list(zip(radii * np.cos(angles), radii * np.sin(angles), strict=True))


def draw_sun(pen: Pen, t: Tones) -> None:
    for angle in np.arange(8) * np.pi / 4:
        x, y = np.cos(angle), np.sin(angle)
        pen.line(t.main, 0.17, (0.66 * x, 0.66 * y), (x, y))
    pen.ellipse(t.main, 0, 0, 0.55)


def draw_star(pen: Pen, t: Tones) -> None:
    pen.polygon(t.main, *_star(5, 1.0, 0.42))


def draw_heart(pen: Pen, t: Tones) -> None:
    pen.ellipse(t.main, -0.44, -0.36, 0.49)
    pen.ellipse(t.main, 0.44, -0.36, 0.49)
    pen.polygon(t.main, (-0.88, -0.14), (0, -0.3), (0.88, -0.14), (0, 0.95))


def draw_moon(pen: Pen, t: Tones) -> None:
    pen.ellipse(t.main, 0, 0, 0.95)
    pen.hole(0.48, -0.18, 0.78)


def draw_tree(pen: Pen, t: Tones) -> None:
    pen.box(t.dark, -0.15, 0.5, 0.15, 1.0)
    pen.polygon(t.main, (0, -1.0), (0.55, -0.3), (-0.55, -0.3))
    pen.polygon(t.main, (0, -0.65), (0.72, 0.15), (-0.72, 0.15))
    pen.polygon(t.main, (0, -0.2), (0.9, 0.62), (-0.9, 0.62))


def draw_house(pen: Pen, t: Tones) -> None:
    pen.polygon(t.dark, (-1.0, -0.1), (0, -1.0), (1.0, -0.1))
    pen.box(t.main, -0.75, -0.1, 0.75, 0.9)
    pen.box(t.dark, -0.15, 0.3, 0.2, 0.9)
    pen.box(t.light, 0.35, 0.1, 0.62, 0.4)
    pen.box(t.light, -0.62, 0.1, -0.35, 0.4)


def draw_car(pen: Pen, t: Tones) -> None:
    pen.polygon(t.main, (-0.55, -0.1), (-0.38, -0.55), (0.3, -0.55), (0.55, -0.1))
    pen.polygon(t.light, (-0.4, -0.1), (-0.29, -0.42), (-0.04, -0.42), (-0.04, -0.1))
    pen.polygon(t.light, (0.06, -0.1), (0.06, -0.42), (0.24, -0.42), (0.4, -0.1))
    pen.polygon(t.main, (-1.0, -0.1), (0.85, -0.1), (1.0, 0.12), (1.0, 0.38), (-1.0, 0.38))
    for x in (-0.55, 0.55):
        pen.ellipse(t.dark, x, 0.4, 0.27)
        pen.ellipse(t.light, x, 0.4, 0.11)


def draw_boat(pen: Pen, t: Tones) -> None:
    pen.box(t.dark, -0.08, -0.95, 0.02, 0.4)
    pen.polygon(t.light, (0.08, -0.9), (0.8, 0.28), (0.08, 0.28))
    pen.polygon(t.main, (-0.14, -0.6), (-0.14, 0.28), (-0.7, 0.28))
    pen.polygon(t.main, (-1.0, 0.38), (1.0, 0.38), (0.62, 0.9), (-0.62, 0.9))


def draw_fish(pen: Pen, t: Tones) -> None:
    pen.polygon(t.dark, (0.4, 0), (1.0, -0.5), (0.85, 0), (1.0, 0.5))
    pen.polygon(t.dark, (-0.25, -0.35), (0.1, -0.72), (0.3, -0.3))
    pen.ellipse(t.main, -0.22, 0, 0.78, 0.47)
    pen.ellipse(t.light, -0.64, -0.1, 0.13)
    pen.ellipse((15, 15, 15), -0.66, -0.1, 0.065)
    pen.line(t.dark, 0.08, (-0.36, -0.3), (-0.26, 0), (-0.36, 0.3))


def draw_cup(pen: Pen, t: Tones) -> None:
    pen.ellipse(t.main, 0.58, 0.02, 0.42, 0.4)
    pen.hole(0.58, 0.02, 0.23, 0.22)
    pen.polygon(t.main, (-0.8, -0.55), (0.5, -0.55), (0.36, 0.75), (-0.66, 0.75))
    pen.ellipse(t.dark, -0.15, -0.55, 0.65, 0.17)


def draw_key(pen: Pen, t: Tones) -> None:
    pen.box(t.main, -0.3, -0.12, 1.0, 0.12)
    pen.box(t.main, 0.48, 0.0, 0.64, 0.45)
    pen.box(t.main, 0.82, 0.0, 1.0, 0.5)
    pen.ellipse(t.main, -0.52, 0, 0.48)
    pen.hole(-0.58, 0, 0.22)


def draw_bell(pen: Pen, t: Tones) -> None:
    pen.ellipse(t.dark, 0, 0.76, 0.22)
    pen.ellipse(t.main, 0, -0.85, 0.15)
    pen.ellipse(t.main, 0, -0.25, 0.52, 0.6)
    pen.polygon(
        t.main, (-0.52, -0.25), (0.52, -0.25), (0.6, 0.3), (0.9, 0.62), (-0.9, 0.62), (-0.6, 0.3)
    )
    pen.box(t.dark, -0.9, 0.5, 0.9, 0.64)


def draw_leaf(pen: Pen, t: Tones) -> None:
    pen.polygon(
        t.main, (-0.95, 0.0), (-0.6, -0.36), (-0.1, -0.52), (0.45, -0.4), (0.95, 0.0), (0.45, 0.4),
        (-0.1, 0.52), (-0.6, 0.36),
    )  # fmt: skip
    pen.line(t.dark, 0.1, (-1.0, 0), (0.7, 0))
    for x in (-0.45, -0.05, 0.35):
        pen.line(t.dark, 0.06, (x, 0), (x + 0.2, -0.3))
        pen.line(t.dark, 0.06, (x, 0), (x + 0.2, 0.3))


def draw_cloud(pen: Pen, t: Tones) -> None:
    pen.ellipse(t.main, -0.55, 0.14, 0.42)
    pen.ellipse(t.main, -0.05, -0.18, 0.52)
    pen.ellipse(t.main, 0.55, 0.1, 0.44)
    pen.box(t.main, -0.6, 0.1, 0.6, 0.54)


def draw_flag(pen: Pen, t: Tones) -> None:
    pen.box(t.dark, -0.85, -1.0, -0.7, 1.0)
    pen.polygon(
        t.main, (-0.7, -0.9), (-0.2, -0.74), (0.3, -0.92), (0.95, -0.8), (0.95, 0.12), (0.3, 0.0),
        (-0.2, 0.18), (-0.7, 0.02),
    )  # fmt: skip
    pen.polygon(
        t.light, (-0.7, -0.56), (-0.2, -0.4), (0.3, -0.58), (0.95, -0.46), (0.95, -0.22),
        (0.3, -0.34), (-0.2, -0.16), (-0.7, -0.32),
    )  # fmt: skip


def draw_kite(pen: Pen, t: Tones) -> None:
    pen.line(t.dark, 0.07, (0, 0.3), (0.12, 0.55), (-0.1, 0.75), (0.1, 1.0))
    pen.polygon(t.main, (0, -1.0), (0.64, -0.35), (0, 0.42), (-0.64, -0.35))
    pen.line(t.dark, 0.08, (0, -1.0), (0, 0.42))
    pen.line(t.dark, 0.08, (-0.64, -0.35), (0.64, -0.35))
    pen.polygon(t.main, (-0.14, 0.7), (-0.34, 0.58), (-0.36, 0.88))
    pen.polygon(t.main, (-0.08, 0.74), (0.14, 0.6), (0.16, 0.9))


def draw_ring(pen: Pen, t: Tones) -> None:
    pen.ellipse(t.main, 0, 0.25, 0.72)
    pen.hole(0, 0.25, 0.47)
    pen.polygon(t.light, (-0.34, -0.76), (-0.2, -1.0), (0.2, -1.0), (0.34, -0.76), (0, -0.4))


def draw_arrow(pen: Pen, t: Tones) -> None:
    pen.polygon(
        t.main, (-1.0, -0.2), (0.15, -0.2), (0.15, -0.62), (1.0, 0), (0.15, 0.62), (0.15, 0.2),
        (-1.0, 0.2),
    )  # fmt: skip


def draw_cross(pen: Pen, t: Tones) -> None:
    pen.box(t.main, -0.26, -0.95, 0.26, 0.95)
    pen.box(t.main, -0.95, -0.26, 0.95, 0.26)


def draw_cat(pen: Pen, t: Tones) -> None:
    pen.polygon(t.main, (-0.8, -0.95), (-0.15, -0.45), (-0.78, -0.05))
    pen.polygon(t.main, (0.8, -0.95), (0.15, -0.45), (0.78, -0.05))
    pen.ellipse(t.main, 0, 0.15, 0.82, 0.7)
    for side in (-1, 1):
        pen.ellipse(t.light, 0.34 * side, 0.0, 0.16, 0.19)
        pen.ellipse((15, 15, 15), 0.34 * side, 0.0, 0.06, 0.16)
        pen.line(t.dark, 0.05, (0.25 * side, 0.4), (0.95 * side, 0.32))
        pen.line(t.dark, 0.05, (0.25 * side, 0.48), (0.95 * side, 0.56))
    pen.polygon(t.dark, (-0.13, 0.26), (0.13, 0.26), (0, 0.42))


def draw_lamp(pen: Pen, t: Tones) -> None:
    pen.box(t.dark, -0.08, 0.0, 0.08, 0.85)
    pen.box(t.dark, -0.5, 0.8, 0.5, 0.98)
    pen.polygon(t.main, (-0.36, -0.95), (0.36, -0.95), (0.85, 0.15), (-0.85, 0.15))


def draw_book(pen: Pen, t: Tones) -> None:
    pen.polygon(t.main, (0, -0.55), (-1.0, -0.72), (-1.0, 0.62), (0, 0.8))
    pen.polygon(t.main, (0, -0.55), (1.0, -0.72), (1.0, 0.62), (0, 0.8))
    pen.line(t.dark, 0.12, (0, -0.55), (0, 0.8))
    for y in (-0.38, -0.08, 0.22):
        pen.line(t.light, 0.09, (-0.82, y - 0.1), (-0.2, y))
        pen.line(t.light, 0.09, (0.82, y - 0.1), (0.2, y))


def draw_crown(pen: Pen, t: Tones) -> None:
    pen.polygon(
        t.main, (-0.95, -0.6), (-0.5, 0.05), (0, -0.85), (0.5, 0.05), (0.95, -0.6), (0.78, 0.7),
        (-0.78, 0.7),
    )  # fmt: skip
    pen.box(t.dark, -0.78, 0.5, 0.78, 0.72)
    for x, y in ((-0.95, -0.62), (0, -0.86), (0.95, -0.62)):
        pen.ellipse(t.light, x, y, 0.13)


def draw_clock(pen: Pen, t: Tones) -> None:
    pen.ellipse(t.main, 0, 0, 0.95)
    pen.ellipse(t.light, 0, 0, 0.66)
    pen.line((15, 15, 15), 0.12, (0, -0.5), (0, 0), (0.36, 0.2))


DRAWERS: dict[str, Callable[[Pen, Tones], None]] = {
    name: globals()[f"draw_{name}"] for name in OBJECTS
}

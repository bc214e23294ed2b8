"""A pen that draws filled shapes in unit coordinates onto an RGB canvas and its mask at once."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from clip_sae_demo.world import CANVAS_SIZE, SUPERSAMPLING

Tone = tuple[int, int, int]

_N_ARC = 28  # corners of a drawn ellipse; at 112 px more are not visible
_ANGLES = np.linspace(0.0, 2.0 * np.pi, _N_ARC, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)  # [corner, xy]


@dataclass(frozen=True)
class Tones:
    """The fill of an object, and two related tones for its details, RGB 0-255."""

    main: Tone
    dark: Tone
    light: Tone


class Pen:
    """Draw in coordinates x, y in [-1, 1] (y downwards), turned, scaled and moved as one object.

    `centre` and `half_size` are in canvas px, `tilt` in degrees clockwise, `flip` mirrors left
    and right.
    """

    def __init__(
        self,
        centre: tuple[float, float],
        half_size: float,
        tilt: float = 0.0,
        flip: bool = False,
        aspect: float = 1.0,
    ) -> None:
        angle = np.deg2rad(tilt)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        stretch = np.diag([(-1.0 if flip else 1.0) * aspect, 1.0 / aspect])
        self._matrix = half_size * stretch @ turn
        self._centre = np.asarray(centre)
        self._half_size = half_size
        self.canvas = Image.new("RGB", (CANVAS_SIZE, CANVAS_SIZE))
        self.mask = Image.new("L", (CANVAS_SIZE, CANVAS_SIZE))
        self._colour = ImageDraw.Draw(self.canvas)
        self._cover = ImageDraw.Draw(self.mask)

    def _place(self, points: np.ndarray) -> list[float]:
        return (points @ self._matrix + self._centre).ravel().tolist()

    def polygon(self, tone: Tone, *points: tuple[float, float]) -> None:
        self._fill(tone, np.asarray(points))

    def ellipse(self, tone: Tone, x: float, y: float, rx: float, ry: float | None = None) -> None:
        self._fill(tone, _CIRCLE * (rx, rx if ry is None else ry) + (x, y))

    def box(self, tone: Tone, left: float, top: float, right: float, bottom: float) -> None:
        self.polygon(tone, (left, top), (right, top), (right, bottom), (left, bottom))

    def line(self, tone: Tone, width: float, *points: tuple[float, float]) -> None:
        """Draw a line of `width` in unit coordinates, with rounded bends."""
        placed = self._place(np.asarray(points))
        pixels = max(1, round(width * self._half_size))
        self._colour.line(placed, fill=tone, width=pixels, joint="curve")
        self._cover.line(placed, fill=255, width=pixels, joint="curve")

    def hole(self, x: float, y: float, rx: float, ry: float | None = None) -> None:
        """Cut out an ellipse, through which the background shows."""
        placed = self._place(_CIRCLE * (rx, rx if ry is None else ry) + (x, y))
        self._colour.polygon(placed, fill=(0, 0, 0))
        self._cover.polygon(placed, fill=0)

    def _fill(self, tone: Tone, points: np.ndarray) -> None:
        placed = self._place(points)
        self._colour.polygon(placed, fill=tone)
        self._cover.polygon(placed, fill=255)

    def paint_over(self, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lay the drawing over a background.

        Takes and returns float32 [y, x, rgb] in 0-255 at image size, and the coverage [y, x] in
        0-1. The canvas is black where nothing was drawn, so its average is already weighted by
        the coverage.
        """
        ink = np.asarray(self.canvas.reduce(SUPERSAMPLING), dtype=np.float32)
        cover = np.asarray(self.mask.reduce(SUPERSAMPLING), dtype=np.float32) / 255.0
        return background * (1.0 - cover[..., None]) + ink, cover

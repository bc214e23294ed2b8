"""Images with the activation of a unit on their patches drawn over them.

Steering paper Figs 1, 2 and 10, PatchSAE Fig. 2.
"""

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = "inferno"  # dark to light: reads the same in grey and with any colour blindness
OPACITY = 0.75  # of the colour on the strongest patch; its picture shows through in grey
GAP = 0.06  # between images, of their width


@dataclass(frozen=True)
class Strip:
    """One unit and its images, strongest first.

    Attributes:
        label: written above the images, e.g. "latent 812".
        pixels: uint8 [image, height, width, channel].
        maps: [image, row, column], the unit's activation on each patch.
        low, high: activations that get the lowest and the highest colour. They are equal if the
            unit means nothing on patches; then no map is drawn.
    """

    label: str
    pixels: np.ndarray
    maps: np.ndarray
    low: float
    high: float

    @property
    def has_maps(self) -> bool:
        return self.high > self.low


def coloured(pixels: np.ndarray, patches: np.ndarray, low: float, high: float) -> np.ndarray:
    """Lay activations over an image: uint8 [height, width, 3].

    A patch at `low` keeps its pixels. Towards `high` the picture turns grey and its colour becomes
    that of the colour scale, so that the hue under it does not mix with the scale's.

    Args:
        pixels: uint8 [height, width, 3]; patches: [row, column]; low < high.
    """
    height, width, _ = pixels.shape
    share = np.clip((patches - low) / (high - low), 0, 1)
    rows = np.arange(height) * patches.shape[0] // height
    columns = np.arange(width) * patches.shape[1] // width
    share = share[rows][:, columns][..., None]
    picture = pixels.astype(float)
    grey = (picture @ [0.299, 0.587, 0.114])[..., None]
    scale = 255 * mpl.colormaps[COLOURS](share[..., 0])[..., :3]
    mixed = (1 - share) * picture + share * ((1 - OPACITY) * grey + OPACITY * scale)
    return np.rint(mixed).astype(np.uint8)


def draw_strip(ax: Axes, strip: Strip, n_places: int, *, plain: bool = False) -> None:
    """Draw up to `n_places` images in a row; `plain`: also without activations, in a row above."""
    lines = 2 if plain else 1
    for i in range(min(n_places, len(strip.pixels))):
        left = i * (1 + GAP)
        pictures = [strip.pixels[i]] if plain or not strip.has_maps else []
        if strip.has_maps:
            pictures.append(coloured(strip.pixels[i], strip.maps[i], strip.low, strip.high))
        for line, picture in enumerate(pictures):
            top = line * (1 + GAP)
            extent = (left, left + 1, top + 1, top)
            ax.imshow(picture, extent=extent, interpolation="antialiased")
    ax.set_xlim(0, n_places * (1 + GAP) - GAP)
    ax.set_ylim(lines * (1 + GAP) - GAP, 0)
    ax.set_axis_off()
    ax.set_title(strip.label, fontsize=7, pad=2)


def draw_scale(ax: Axes, labels: tuple[str, str] = ("lowest", "highest")) -> None:
    """Draw the colour scale over a grey picture, its two ends labelled."""
    grey = np.full((1, 256, 3), 150, dtype=np.uint8)
    steps = np.linspace(0, 1, 256)[None]
    ax.imshow(coloured(grey, steps, 0, 1), aspect="auto", extent=(0, 1, 0, 1))
    ax.set_yticks([])
    ax.set_xticks([0, 1], labels=labels)
    for label, side in zip(ax.get_xticklabels(), ("left", "right"), strict=True):
        label.set_horizontalalignment(side)
    ax.spines[:].set_visible(False)


# --- panels at places in inches, from the lower left corner of the figure -------------------------


def add_panel(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return a new panel."""
    x, y = figure.get_size_inches()
    return figure.add_axes((left / x, bottom / y, width / x, height / y))


def add_text(figure: Figure, left: float, top: float, text: str, **font: object) -> None:
    """Write text below and right of a point."""
    x, y = figure.get_size_inches()
    figure.text(left / x, top / y, text, va="top", **font)

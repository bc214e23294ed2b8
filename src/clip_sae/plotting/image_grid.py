"""Rows of images with a unit's per-patch activation drawn over each.

Steering paper Figs 2 and 10 (App. 12): what the images that activate a latent most have in common,
and where in them it is active, beside neurons of the base model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.plotting import theme

COLOURS = "inferno"  # dark to light: read the same way in grey and with any colour blindness
OPACITY = 0.75  # of the colour on the strongest patch; its picture shows through in grey
GAP = 0.06  # between images, of their width
TITLE, LABEL, SPACE, BAR = 0.2, 0.15, 0.05, 0.42  # inches, of a figure's horizontal parts
HEADINGS = ("SAE latents", "neurons of the base model")


@dataclass(frozen=True)
class Strip:
    """One unit and its images, strongest first.

    Attributes:
        label: written above the images, e.g. "latent 812".
        pixels: uint8 [image, height, width, channel].
        maps: [image, row, column], the unit's activation on each patch.
        low, high: activations that are drawn as no and as the strongest colour. Equal where the
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


@dataclass(frozen=True)
class Concept:
    """The strips of one concept: latents on the left, neurons on the right."""

    title: str
    latents: Sequence[Strip]
    neurons: Sequence[Strip]

    @property
    def n_rows(self) -> int:
        return max(len(self.latents), len(self.neurons))


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


def draw_concepts(
    concepts: Sequence[Concept], *, n_places: int, plain: bool = False, rule: str = ""
) -> Figure:
    """Return all concepts, one below the other.

    Args:
        n_places: images of a row; units with fewer leave the rest empty.
        plain: show every image without its activation as well.
        rule: how images are ranked, for the figure's last line.
    """
    concepts = [concept for concept in concepts if concept.n_rows]
    if not concepts:
        return nothing_to_show()
    half = theme.PAGE_WIDTH / 2 - 0.08
    image = half / (n_places * (1 + GAP) - GAP)
    strip = image * (2 + GAP if plain else 1)
    n_strips = sum(concept.n_rows for concept in concepts)
    height = TITLE + len(concepts) * TITLE + n_strips * (LABEL + strip + SPACE) + BAR
    figure = Figure(figsize=(theme.PAGE_WIDTH, height))
    top = height
    for column, heading in enumerate(HEADINGS):
        x = column * (theme.PAGE_WIDTH - half) / theme.PAGE_WIDTH
        figure.text(x, (top - 0.02) / height, heading, va="top", size=8.5, color="#444444")
    top -= TITLE
    for concept in concepts:
        figure.text(0, (top - 0.03) / height, concept.title, va="top", size=8.5, weight="bold")
        top -= TITLE
        for pair in _pairs(concept):
            top -= LABEL + strip
            for column, one in enumerate(pair):
                if one is not None:
                    left = column * (theme.PAGE_WIDTH - half)
                    ax = figure.add_axes(_place(figure, left, top, half, strip))
                    draw_strip(ax, one, n_places, plain=plain)
            top -= SPACE
    _colour_bar(figure, rule)
    return figure


def _pairs(concept: Concept) -> Iterator[tuple[Strip | None, Strip | None]]:
    sides = (concept.latents, concept.neurons)
    for row in range(concept.n_rows):
        yield tuple(strips[row] if row < len(strips) else None for strips in sides)


def _place(figure: Figure, left: float, bottom: float, width: float, height: float) -> tuple:
    """A place in inches as matplotlib's fractions."""
    x, y = figure.get_size_inches()
    return left / x, bottom / y, width / x, height / y


def _colour_bar(figure: Figure, rule: str) -> None:
    """The scale that all strips share, laid over a grey picture as over theirs."""
    ax = figure.add_axes(_place(figure, 0.0, 0.24, 1.6, 0.09))
    draw_scale(ax)
    text = f"activation on the patch, from the row's lowest (0 for latents) to its highest\n{rule}"
    x, y = figure.get_size_inches()
    figure.text(1.85 / x, 0.34 / y, text, va="top", size=7.5)


def nothing_to_show() -> Figure:
    """Return a figure that says why it is empty: a target of the workflow must exist either way."""
    figure = theme.new_figure(theme.PAGE_WIDTH, 0.6)
    reason = "Nothing to show: on validation, no set was better than leaving the model as it is."
    figure.text(0.5, 0.5, reason, ha="center", va="center")
    return figure


def draw_scale(ax: Axes, labels: tuple[str, str] = ("lowest", "highest")) -> None:
    """Draw the colour scale into `ax`, its two ends labelled."""
    grey = np.full((1, 256, 3), 150, dtype=np.uint8)
    steps = np.linspace(0, 1, 256)[None]
    ax.imshow(coloured(grey, steps, 0, 1), aspect="auto", extent=(0, 1, 0, 1))
    ax.set_yticks([])
    ax.set_xticks([0, 1], labels=labels)
    for label, side in zip(ax.get_xticklabels(), ("left", "right"), strict=True):
        label.set_horizontalalignment(side)
    ax.spines[:].set_visible(False)

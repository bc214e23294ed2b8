"""Images explained by their strongest latents: each as a mask, beside its reference images.

PatchSAE §3.3 and Fig. 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.plotting import theme
from clip_sae.plotting.image_grid import (
    GAP,
    Strip,
    coloured,
    draw_scale,
    draw_strip,
    nothing_to_show,
)

OUTLINE = "#00d0ff"  # of a known object: seen on the dark and on the light end of the scale
COLUMNS = 2  # examples side by side
TITLE, LABEL, BLOCK, FOOT = 0.18, 0.15, 0.14, 0.6  # inches of height


@dataclass(frozen=True)
class ExplainedLatent:
    """One latent of an image.

    Attributes:
        patches: [row, column] its activation on the image.
        references: its top images, with their maps on a scale of their own.
    """

    patches: np.ndarray
    references: Strip


@dataclass(frozen=True)
class ExplainedImage:
    """An image and its latents, the first of them drawn first.

    Attributes:
        pixels: uint8 [height, width, 3].
        mask: bool [height, width] of the known object, None where it is not known.
    """

    title: str
    pixels: np.ndarray
    mask: np.ndarray | None
    latents: Sequence[ExplainedLatent]


def draw_image(ax: Axes, pixels: np.ndarray, mask: np.ndarray | None) -> None:
    """Draw an image with the outline of its object, if that is known."""
    height, width = pixels.shape[:2]
    ax.imshow(pixels, extent=(0, width, height, 0), interpolation="antialiased")
    if mask is not None and mask.any() and not mask.all():
        # A frame of background, so that objects at the edge are outlined too.
        framed = np.pad(mask.astype(float), 1)
        x, y = np.arange(width + 2) - 0.5, np.arange(height + 2) - 0.5
        ax.contour(x, y, framed, levels=[0.5], colors=OUTLINE, linewidths=0.7)
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()


def draw_explained(images: Sequence[ExplainedImage], *, n_references: int, rule: str) -> Figure:
    """Return all images, two side by side, each with a row per latent.

    Args:
        n_references: reference images of a row.
        rule: how images and latents were picked, for the figure's last lines.
    """
    if not images:
        return nothing_to_show()
    half = (theme.PAGE_WIDTH - 0.2) / COLUMNS
    # A row: the image or nothing, the mask, a gap of half a picture, the references.
    side = half / (2.5 + n_references + GAP * (n_references + 1))
    lines = [images[i : i + COLUMNS] for i in range(0, len(images), COLUMNS)]
    heights = [
        TITLE + max(len(image.latents) for image in line) * (LABEL + side) + BLOCK for line in lines
    ]
    figure = Figure(figsize=(theme.PAGE_WIDTH, sum(heights) + FOOT))
    top = sum(heights) + FOOT
    for line, height in zip(lines, heights, strict=True):
        for column, image in enumerate(line):
            left = column * (half + 0.2)
            _draw_block(figure, image, left, top, side, n_references)
        top -= height
    _foot(figure, rule)
    return figure


def _draw_block(
    figure: Figure, image: ExplainedImage, left: float, top: float, side: float, n: int
) -> None:
    """One image at `left`, `top` inches, its pictures `side` inches wide."""
    width, height = figure.get_size_inches()

    def place(x: float, y: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, y / height, w / width, h / height))

    figure.text(left / width, (top - 0.02) / height, image.title, va="top", size=8, weight="bold")
    step = side * (1 + GAP)
    y = top - TITLE
    for i, latent in enumerate(image.latents):
        y -= LABEL + side
        if i == 0:
            draw_image(place(left, y, side, side), image.pixels, image.mask)
        high = float(latent.patches.max())
        over = coloured(image.pixels, latent.patches, 0.0, high if high > 0 else 1.0)
        draw_image(place(left + step, y, side, side), over, image.mask)
        refs = place(left + step + 1.5 * side, y, n * step - GAP * side, side)
        draw_strip(refs, latent.references, n)


def _foot(figure: Figure, rule: str) -> None:
    width, height = figure.get_size_inches()
    scale = figure.add_axes((0.0, 0.26 / height, 1.5 / width, 0.09 / height))
    draw_scale(scale, ("0", "highest"))
    text = (
        "activation on the patch: over an image, up to its own highest; over reference images,\n"
        f"up to the row's highest\n{rule}"
    )
    figure.text(1.7 / width, 0.46 / height, text, va="top", size=7)

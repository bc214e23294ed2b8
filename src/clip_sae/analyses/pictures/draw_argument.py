"""The argument in one picture each: an answer that changes when latents are taken out.

Steering paper Fig. 1 (a spurious attribute) and Fig. 3 (a written word).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.plotting import theme
from clip_sae.plotting.image_grid import coloured, draw_scale, nothing_to_show

BEFORE, AFTER = theme.GREY, theme.PATCH
TRUE, WRITTEN = theme.REFERENCE, theme.CLS


@dataclass(frozen=True)
class SuppressedExample:
    """One image, its strongest chosen latents, and what the model answers with and without them.

    Attributes:
        title: what the image is and which set is taken out.
        pixels: uint8 [height, width, 3].
        latents: their names; maps: [latent, row, column].
        classes: their names; before, after: probability of each, 0…1; true: index of the right one.
    """

    title: str
    pixels: np.ndarray
    latents: Sequence[str]
    maps: np.ndarray
    classes: Sequence[str]
    before: Sequence[float]
    after: Sequence[float]
    true: int


@dataclass(frozen=True)
class AnsweredImage:
    """One image and its most probable classes, [(name, probability)], before and after.

    `written` is the class whose name is on the image, None on a clean one.
    """

    title: str
    pixels: np.ndarray
    before: Sequence[tuple[str, float]]
    after: Sequence[tuple[str, float]]
    true: str
    written: str | None


def draw_argument(examples: Sequence[SuppressedExample], *, rule: str = "") -> Figure:
    """Return Fig. 1: a row per example; the image, its latents over it, the two answers.

    Args:
        rule: how the images were picked, for the figure's last line.
    """
    if not examples:
        return nothing_to_show()
    n_maps = max(len(example.latents) for example in examples)
    heights = [1.75] * len(examples) + [0.5]  # inches; the last is the colour scale's
    figure = theme.new_figure(theme.PAGE_WIDTH, sum(heights))
    rows = figure.subfigures(len(heights), 1, height_ratios=heights)
    for part, example in zip(rows, examples, strict=False):
        part.suptitle(example.title, x=0.01, ha="left", size=8.5, weight="bold")
        axes = part.subplots(1, 2 + n_maps, width_ratios=[1] * (1 + n_maps) + [1.5])
        axes[0].imshow(example.pixels)
        axes[0].set_title("the image", loc="center", size=7.5)
        for ax, name, patches in zip(axes[1:-1], example.latents, example.maps, strict=False):
            # A latent of the set that only CLS activates leaves the picture as it is.
            highest = float(patches.max())
            ax.imshow(coloured(example.pixels, patches, 0.0, highest or 1.0))
            ax.set_title(f"{name}\n0 to {patches.max():.2g}", loc="center", size=7.5)
        for ax in axes[:-1]:
            ax.set_axis_off()
        _draw_answer(axes[-1], example)
    note = rows[-1].subplots(1, 2, width_ratios=[1, 3])
    draw_scale(note[0], ("0", "highest of the image"))
    note[0].set_box_aspect(0.06)
    note[1].set_axis_off()
    text = "activation of a latent on each patch; latents: the strongest of the set on this image"
    note[1].text(0.05, 0.5, f"{text}\n{rule}".strip(), va="center", size=7.5)
    return figure


def _draw_answer(ax: Axes, example: SuppressedExample) -> None:
    """Bars of each class's probability, as the model is and without the latents."""
    places = np.arange(len(example.classes))
    for offset, values, colour, label in (
        (-0.2, example.before, BEFORE, "as it is"),
        (0.2, example.after, AFTER, "without the set"),
    ):
        ax.barh(places + offset, values, height=0.36, color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            ax.text(value + 0.02, place + offset, _percent(value), va="center", size=7)
    names = [f"{name}\n(true)" if i == example.true else name
             for i, name in enumerate(example.classes)]  # fmt: skip
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    _share_axis(ax)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.08), ncols=2, columnspacing=1.0)


def draw_attack(images: Sequence[AnsweredImage], *, edit: str) -> Figure:
    """Return Fig. 3: a row per image, with its first classes as the model is and after the edit.

    Args:
        edit: what is done, for the second column's heading.
    """
    if not images:
        return nothing_to_show()
    figure = theme.new_figure(theme.PAGE_WIDTH, 1.75 * len(images) + 0.3)
    axes = figure.subplots(len(images), 3, squeeze=False, width_ratios=[1, 1.35, 1.35])
    for row, (line, image) in enumerate(zip(axes, images, strict=True)):
        line[0].imshow(image.pixels)
        line[0].set_title(image.title, loc="center")
        line[0].set_axis_off()
        for ax, answers, heading in zip(
            line[1:], (image.before, image.after), ("the model as it is", edit), strict=True
        ):
            _draw_classes(ax, answers, image)
            if row == 0:
                ax.set_title(heading)
    handles = [
        axes[0, 0].plot([], [], "s", color=colour, label=label)[0]
        for colour, label in ((TRUE, "true class"), (WRITTEN, "written word"), (BEFORE, "others"))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _draw_classes(ax: Axes, answers: Sequence[tuple[str, float]], image: AnsweredImage) -> None:
    places = np.arange(len(answers))
    colours = {image.true: TRUE, image.written: WRITTEN}
    values = [value for _, value in answers]
    ax.barh(places, values, height=0.7, color=[colours.get(name, BEFORE) for name, _ in answers])
    for place, value in zip(places, values, strict=True):
        ax.text(value + 0.02, place, _percent(value), va="center", size=7)
    marks = {image.true: " (true)", image.written: " (written)"}
    ax.set_yticks(places, [f"{name}{marks.get(name, '')}" for name, _ in answers])
    ax.invert_yaxis()
    _share_axis(ax)


def _percent(value: float) -> str:
    return "<1 %" if 0 < value < 0.005 else f"{100 * value:.0f} %"


def _share_axis(ax: Axes) -> None:
    """Probabilities from 0 to 1 need no ticks where each bar carries its number."""
    ax.set_xlim(0, 1.2)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(left=False)

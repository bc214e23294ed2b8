"""Examples of answers that change when latents are taken out.

Steering paper Fig. 1 (a spurious attribute) and Fig. 3 (a written word).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.datasets.pixels import pixels_by_row
from clip_sae.planning.specs import read_json
from clip_sae.plotting import theme
from clip_sae.plotting.image_grid import coloured, draw_scale

BEFORE, AFTER = theme.GREY, theme.PATCH
TRUE, WRITTEN = theme.REFERENCE, theme.CLS
Sets = Sequence[Mapping]  # for each set: "found", the measurement, and "images" (ImageFiles)


def fig1(job, *, sets: Sets, grid: Sequence[int], chosen_by_user: bool) -> Figure:
    """Draw a row per set with a spurious attribute: an image, its latents over it, both answers.

    Args:
        grid: rows and columns of the patches.
        chosen_by_user: whether the config names an image, so that no rule chose them all.
    """
    found = [(read_json(own["found"]), own["images"]) for own in sets]
    found = [(about, images) for about, images in found if about["example"] is not None]
    if not found:
        return theme.nothing_to_show()
    n_maps = max(len(about["example"]["latents"]) for about, _ in found)
    heights = [1.75] * len(found) + [0.5]  # inches; the last is the colour scale's
    figure = theme.new_figure(theme.PAGE_WIDTH, sum(heights))
    *rows, foot = figure.subfigures(len(heights), 1, height_ratios=heights)
    for part, (about, images) in zip(rows, found, strict=True):
        example = about["example"]
        part.suptitle(_title(about), x=0.01, ha="left", size=8.5, weight="bold")
        axes = part.subplots(1, 2 + n_maps, width_ratios=[1] * (1 + n_maps) + [1.5])
        pixels = pixels_by_row(images, [example["row"]])[example["row"]]
        axes[0].imshow(pixels)
        axes[0].set_title("the image", loc="center", size=7.5)
        for ax, latent in zip(axes[1:-1], example["latents"], strict=False):
            patches = np.reshape(latent["values"][1:], grid)
            # A latent of the set that only CLS activates leaves the picture as it is.
            ax.imshow(coloured(pixels, patches, 0.0, float(patches.max()) or 1.0))
            title = f"latent {latent['unit']}\n0 to {patches.max():.2g}"
            ax.set_title(title, loc="center", size=7.5)
        for ax in axes[:-1]:
            ax.set_axis_off()
        _answer(axes[-1], example)
    rule = "images: of the group misled most, the one whose answer changes most"
    _foot(foot, "" if chosen_by_user else rule)
    return figure


def _title(about: Mapping) -> str:
    """Return the title of an example: its image, and the set that is taken out."""
    example, concepts = about["example"], about["concepts"]
    return (
        f"{about['dataset']}: {example['classes'][example['true']]}, "
        f"{concepts['a' if example['attribute'] else 'not_a']}; {example['n_units']:,} of "
        f"{example['n_all']:,} latents of layer {example['layer']} taken out"
    )


def _foot(part, rule: str) -> None:
    """Draw the colour scale, and the rules that picked latents and images."""
    scale, note = part.subplots(1, 2, width_ratios=[1, 3])
    draw_scale(scale, ("0", "highest of the image"))
    scale.set_box_aspect(0.06)
    note.set_axis_off()
    text = "activation of a latent on each patch; latents: the strongest of the set on this image"
    note.text(0.05, 0.5, f"{text}\n{rule}".strip(), va="center", size=7.5)


def _answer(ax: Axes, example: Mapping) -> None:
    """Draw each class's probability, as the model is and without the latents."""
    _bars(ax, example["before"], -0.2, height=0.36, color=BEFORE, label="as it is")
    _bars(ax, example["after"], 0.2, height=0.36, color=AFTER, label="without the set")
    names = [
        f"{name}\n(true)" if i == example["true"] else name
        for i, name in enumerate(example["classes"])
    ]
    _name_bars(ax, names)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.08), ncols=2, columnspacing=1.0)


def fig3(job, *, sets: Sets) -> Figure:
    """Draw an image without and with a word on it, and the answers with and without the latents."""
    [own] = sets
    example = read_json(own["found"])["example"]
    if example is None:
        return theme.nothing_to_show()
    pixels = pixels_by_row(own["images"], example["rows"].values())
    edit = f"without {example['n_units']:,} latents of layer {example['layer']}"
    titles = {"clean": "as it is", "attacked": f"with “{example['written']}” on it"}
    figure = theme.new_figure(theme.PAGE_WIDTH, 1.75 * len(titles) + 0.3)
    axes = figure.subplots(len(titles), 3, width_ratios=[1, 1.35, 1.35])
    for line, (side, title) in zip(axes, titles.items(), strict=True):
        line[0].imshow(pixels[example["rows"][side]])
        line[0].set_title(title, loc="center")
        line[0].set_axis_off()
        written = example["written"] if side == "attacked" else None
        for ax, when in zip(line[1:], ("before", "after"), strict=True):
            _classes(ax, example["answers"][side][when], example["true"], written)
    for ax, title in zip(axes[0, 1:], ("the model as it is", edit), strict=True):
        ax.set_title(title)
    handles = [
        axes[0, 0].plot([], [], "s", color=colour, label=label)[0]
        for colour, label in ((TRUE, "true class"), (WRITTEN, "written word"), (BEFORE, "others"))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _classes(
    ax: Axes, answers: Sequence[tuple[str, float]], true: str, written: str | None
) -> None:
    """Draw the most probable classes, [(name, probability)], with the right and the written one.

    `written` is None on a clean image.
    """
    colours = {true: TRUE, written: WRITTEN}
    names, values = zip(*answers, strict=True)
    _bars(ax, values, 0.0, height=0.7, color=[colours.get(name, BEFORE) for name in names])
    marks = {true: " (true)", written: " (written)"}
    _name_bars(ax, [f"{name}{marks.get(name, '')}" for name in names])


def _bars(ax: Axes, values: Sequence[float], offset: float, **bars: object) -> None:
    """Draw one bar per probability, each with its number."""
    at = np.arange(len(values)) + offset
    ax.barh(at, values, **bars)
    for y, value in zip(at, values, strict=True):
        percent = "<1 %" if 0 < value < 0.005 else f"{100 * value:.0f} %"
        ax.text(value + 0.02, y, percent, va="center", size=7)


def _name_bars(ax: Axes, names: Sequence[str]) -> None:
    """Name the bars, the first on top; the axis needs no ticks because each bar has its number."""
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.2)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(left=False)

"""All latents of one SAE, and images explained by their strongest latents.

PatchSAE §3.3: Fig. 3 (sparsity, activation and label entropy) and Fig. 2 (latents as masks).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from clip_sae.datasets.pixels import pixels_by_row
from clip_sae.planning.inputs import ImageFiles
from clip_sae.plotting import theme
from clip_sae.plotting.image_grid import (
    GAP,
    Strip,
    add_panel,
    add_text,
    coloured,
    draw_scale,
    draw_strip,
)
from clip_sae.plotting.panels import colour_bar, heading, letters, percent_axis, plain_log_axis

N_REFERENCES = 5  # top images next to a mask
OUTLINE = "#00d0ff"  # of a known object: seen on the dark and on the light end of the scale
COLUMNS = 2  # examples next to each other
GUTTER = 0.2  # inches between them
TITLE, LABEL, SPACE, FOOT = 0.18, 0.15, 0.14, 0.6  # inches of height


# --- all latents ----------------------------------------------------------------------------------


def concepts(job, *, csv: Path, sae: str, layer: int, dataset: str, top_images: int) -> Figure:
    """Draw a scatter of all latents next to the distribution of their label entropies."""
    table = pd.read_csv(csv)
    figure = theme.new_figure(theme.PAGE_WIDTH, 3.1)
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
    label = f"label entropy of the top {top_images} images,\n0 one class, 1 all different"
    latents = table[table["kind"] == "latent"]
    colour_bar(figure, _scatter(left, latents), left, label, pad=0.02)
    dead = int(latents["log10_sparsity"].isna().sum())
    few = int((latents["log10_sparsity"].notna() & latents["label_entropy"].isna()).sum())
    left.set_title(f"{len(latents):,} latents, {dead:,} dead (not shown), {few:,} too rare (grey)")
    right.set_title("of one class, or of many")
    _entropies(right, table)
    letters((left, right))
    heading(figure, f"{sae}, layer {layer}, on {dataset}", size=9)
    return figure


def _scatter(ax: Axes, latents: pd.DataFrame) -> PathCollection:
    """Draw mean activation against sparsity; return the points that are coloured by entropy.

    Latents without an entropy are grey; dead latents are left out.
    """
    alive = latents[latents["log10_sparsity"].notna()]
    known = alive["label_entropy_normalised"].notna()
    few = alive[~known]
    ax.scatter(few["log10_sparsity"], few["mean_activation"], s=5, color="#cccccc", linewidths=0)
    # Latents of low entropy are few: drawn last, on top.
    shown = alive[known].sort_values("label_entropy_normalised", ascending=False)
    points = ax.scatter(
        shown["log10_sparsity"],
        shown["mean_activation"],
        c=shown["label_entropy_normalised"],
        cmap="viridis",
        vmin=0,
        vmax=1,
        s=7,
        linewidths=0,
    )
    plain_log_axis(ax.yaxis)
    ax.set_xlabel("log$_{10}$ sparsity (share of images on which a latent is active)")
    ax.set_ylabel("mean activation where active")
    ax.grid()
    return points


def _entropies(ax: Axes, table: pd.DataFrame) -> None:
    """Draw, for latents and for neurons, the share of units of at most each label entropy."""
    for kind, colour in (("latent", theme.PATCH), ("neuron", theme.GREY)):
        values = table.loc[table["kind"] == kind, "label_entropy_normalised"].dropna()
        if len(values):
            share = np.arange(1, len(values) + 1) / len(values)
            ax.step(
                np.concatenate([[0.0], np.sort(values.to_numpy()), [1.0]]),
                np.concatenate([[0.0], share, [1.0]]),
                where="post",
                color=colour,
                label=f"{theme.style_of('unit', kind).name} ({len(values):,})",
            )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    percent_axis(ax.yaxis)
    ax.set_xlabel("label entropy, normalised")
    ax.set_ylabel("share of units")
    ax.legend(loc="upper left")
    ax.grid()


# --- images and their strongest latents -----------------------------------------------------------


@dataclass(frozen=True)
class Explained:
    """An image and its latents, strongest first.

    Attributes:
        pixels: uint8 [height, width, 3].
        outline: bool [height, width] of the known object, None if it is unknown.
        patches: [latent, row, column], activations on the image.
        references: the top images of each latent, with their maps on a scale of their own.
    """

    title: str
    pixels: np.ndarray
    outline: np.ndarray | None
    patches: np.ndarray
    references: Sequence[Strip]


def concept_masks(
    job,
    *,
    images: ImageFiles,
    measured: Path,
    masks: Path,
    grid: Sequence[int],
    known_masks: bool,
    chosen: bool,
    sae: str,
    layer: int,
) -> Figure:
    """Draw images, two in a row, with their strongest latents as masks next to reference images.

    Args:
        measured: folder of `measure_concepts`; masks: folder of `measure_masks`.
        grid: rows and columns of the patches.
        known_masks: whether the objects' masks are known; chosen: whether the config names images.
    """
    examples = pd.read_csv(masks / "examples.csv")
    if examples.empty:
        return theme.nothing_to_show()
    maps = _array(masks / "example_maps.npy")
    objects = _array(masks / "example_masks.npy") if known_masks else None
    table = pd.read_csv(measured / "concepts.csv")
    table = table[table["kind"] == "latent"].set_index("unit")
    top_maps = _array(measured / "maps.npy", mmap_mode="r")
    tops = table["images"].fillna("").str.split()
    rows = {unit: [int(r) for r in tops[unit][:N_REFERENCES]] for unit in set(examples["unit"])}
    shown = {row for found in rows.values() for row in found} | set(examples["row"])
    pixels = pixels_by_row(images, shown)

    def references(example) -> Strip:
        found, about = rows[example.unit], table.loc[example.unit]
        over = top_maps[example.unit, : len(found)].reshape(-1, *grid).astype(float)
        label = (
            f"latent {example.unit}, {example.role}: top images "
            f"{100 * about['top_label_share']:.0f} % {about['top_label']}"
        )
        return Strip(label, np.stack([pixels[row] for row in found]), over, 0.0, over.max())

    explained = []
    for _, own in examples.groupby("position", sort=False):
        first = own.iloc[0]
        iou = f", IoU {first['class_iou']:.2f}" if known_masks else ""
        explained.append(
            Explained(
                f"{first['label']}{iou}",
                pixels[first["row"]],
                objects[own.index[0]] if known_masks else None,
                maps[own.index].reshape(-1, *grid),
                [references(example) for example in own.itertuples()],
            )
        )
    figure = _grid_of(explained)
    draw_scale(add_panel(figure, 0.0, 0.26, 1.5, 0.09), ("0", "highest"))
    text = (
        "activation on the patch: over an image, up to its own highest; over reference images,\n"
        f"up to the row's highest\n{sae}, layer {layer}; {_shown_images(known_masks, chosen)}"
    )
    add_text(figure, 1.7, 0.46, text, size=7)
    return figure


def _array(path: Path, **options: object) -> np.ndarray:
    """Read one array, never a pickle."""
    return np.load(path, allow_pickle=False, **options)


def _shown_images(known_masks: bool, chosen: bool) -> str:
    """Return the sentence that names the shown images and the outline."""
    which = "of median IoU of its class's latent" if known_masks else "that comes first"
    picked = "named in the config" if chosen else f"of each class the one {which}"
    text = f"{'held-out images, ' if known_masks else 'images '}{picked}"
    return text + ("\nblue: the object's true outline" if known_masks else "")


def _grid_of(images: Sequence[Explained]) -> Figure:
    """Return all images, two in a row, each with a line per latent; room for a foot is left."""
    half = (theme.PAGE_WIDTH - GUTTER) / COLUMNS
    # A line: the image or nothing, the mask, a gap of half a picture, the references.
    side = half / (2.5 + N_REFERENCES + GAP * (N_REFERENCES + 1))
    rows = [images[i : i + COLUMNS] for i in range(0, len(images), COLUMNS)]
    heights = [
        TITLE + max(len(image.patches) for image in row) * (LABEL + side) + SPACE for row in rows
    ]
    top = sum(heights) + FOOT
    figure = Figure(figsize=(theme.PAGE_WIDTH, top))
    for row, height in zip(rows, heights, strict=True):
        for column, image in enumerate(row):
            _explained(figure, image, column * (half + GUTTER), top, side)
        top -= height
    return figure


def _explained(figure: Figure, image: Explained, left: float, top: float, side: float) -> None:
    """Draw one image at `left`, `top` inches, its pictures `side` inches wide."""
    add_text(figure, left, top - 0.02, image.title, size=8, weight="bold")
    step = side * (1 + GAP)
    y = top - TITLE
    for i, (patches, strip) in enumerate(zip(image.patches, image.references, strict=True)):
        y -= LABEL + side
        if i == 0:
            _picture(add_panel(figure, left, y, side, side), image.pixels, image.outline)
        high = float(patches.max())
        over = coloured(image.pixels, patches, 0.0, high if high > 0 else 1.0)
        _picture(add_panel(figure, left + step, y, side, side), over, image.outline)
        width = N_REFERENCES * step - GAP * side
        draw_strip(add_panel(figure, left + step + 1.5 * side, y, width, side), strip, N_REFERENCES)


def _picture(ax: Axes, pixels: np.ndarray, outline: np.ndarray | None) -> None:
    """Draw an image with the outline of its object, if that is known."""
    height, width = pixels.shape[:2]
    ax.imshow(pixels, extent=(0, width, height, 0), interpolation="antialiased")
    if outline is not None and outline.any() and not outline.all():
        # A frame of background, so that objects at the edge are outlined too.
        framed = np.pad(outline.astype(float), 1)
        x, y = np.arange(width + 2) - 0.5, np.arange(height + 2) - 0.5
        ax.contour(x, y, framed, levels=[0.5], colors=OUTLINE, linewidths=0.7)
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()

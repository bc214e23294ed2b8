"""Draw all latents of one SAE, and images with their strongest latents as masks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from clip_sae.analyses.concepts.draw_masks import ExplainedImage, ExplainedLatent, draw_explained
from clip_sae.analyses.concepts.draw_scatter import draw_concepts_scatter
from clip_sae.datasets.pixels import pixels_by_row
from clip_sae.planning.inputs import ImageFiles
from clip_sae.plotting.image_grid import Strip

N_REFERENCES = 5


def concepts(job, *, csv: Path, sae: str, layer: int, dataset: str, top_images: int) -> Figure:
    """Draw all latents: sparsity, mean activation, label entropy."""
    title = f"{sae}, layer {layer}, on {dataset}"
    return draw_concepts_scatter(pd.read_csv(csv), title=title, top_images=top_images)


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
    """Draw images with their strongest latents as masks, each next to its reference images.

    Args:
        measured: folder of `measure_concepts`; masks: folder of `measure_masks`.
        known_masks: whether the objects' masks are known; chosen: whether the config names images.
    """
    examples = pd.read_csv(masks / "examples.csv")
    maps = _array(masks / "example_maps.npy")
    objects = _array(masks / "example_masks.npy") if known_masks else None
    table = pd.read_csv(measured / "concepts.csv")
    table = table[table["kind"] == "latent"].set_index("unit")
    references = _array(measured / "maps.npy", mmap_mode="r")
    tops = table["images"].fillna("").str.split()
    rows = {unit: [int(r) for r in tops[unit][:N_REFERENCES]] for unit in set(examples["unit"])}
    shown = {row for found in rows.values() for row in found} | set(examples["row"])
    pixels = pixels_by_row(images, shown)

    def latent(i, example) -> ExplainedLatent:
        found, about = rows[example.unit], table.loc[example.unit]
        over = references[example.unit, : len(found)].reshape(-1, *grid).astype(float)
        label = (
            f"latent {example.unit}, {example.role}: top images "
            f"{100 * about['top_label_share']:.0f} % {about['top_label']}"
        )
        strip = Strip(label, np.stack([pixels[row] for row in found]), over, 0.0, over.max())
        return ExplainedLatent(maps[i].reshape(grid), strip)

    explained = []
    for _, rows_of in examples.groupby("position", sort=False):
        first = rows_of.iloc[0]
        latents = [latent(example.Index, example) for example in rows_of.itertuples()]
        outline = objects[rows_of.index[0]] if known_masks else None
        iou = f", IoU {first['class_iou']:.2f}" if known_masks else ""
        title = f"{first['label']}{iou}"
        explained.append(ExplainedImage(title, pixels[first["row"]], outline, latents))
    rule = f"{sae}, layer {layer}; {_shown_images(known_masks, chosen)}"
    return draw_explained(explained, n_references=N_REFERENCES, rule=rule)


def _array(path: Path, **options: object) -> np.ndarray:
    """Read one array, never a pickle."""
    return np.load(path, allow_pickle=False, **options)


def _shown_images(known_masks: bool, chosen: bool) -> str:
    """Say which images are shown, and what the outline is."""
    which = "of median IoU of its class's latent" if known_masks else "that comes first"
    picked = "named in the config" if chosen else f"of each class the one {which}"
    text = f"{'held-out images, ' if known_masks else 'images '}{picked}"
    return text + ("\nblue: the object's true outline" if known_masks else "")

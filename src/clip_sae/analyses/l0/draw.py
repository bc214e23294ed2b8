"""Draw the L0 figures: Fig. 4, Fig. 8, the norms next to them, the maps of one image."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from clip_sae.analyses.l0.draw_image import draw_image_maps
from clip_sae.analyses.l0.draw_maps import draw_l0_figure, draw_l0_maps
from clip_sae.datasets.manifest import read_manifest
from clip_sae.datasets.pixels import pixels_by_row
from clip_sae.planning.inputs import ImageFiles


def fig4(job, *, tokens: Path, layers: Path, map_layer: int) -> Figure:
    """Draw the map of one layer, its boxes, and L0 by layer next to GPT-2's."""
    return draw_l0_figure(pd.read_csv(tokens), pd.read_csv(layers), layer=map_layer)


def fig8(job, *, tokens: Path) -> Figure:
    """Draw the L0 map of every layer."""
    return draw_l0_maps(pd.read_csv(tokens))


def token_norms(job, *, tokens: Path) -> Figure:
    """Draw the map of mean token norms of every layer."""
    return draw_l0_maps(pd.read_csv(tokens), value="mean_norm", label="mean token norm")


def l0_image(job, *, image: Path, images: ImageFiles) -> Figure:
    """Draw one image and the L0 of its patches at every layer."""
    table = pd.read_csv(image)
    row = int(table["source_index"].iloc[0])
    pixels = pixels_by_row(images, [row])[row]
    title = read_manifest(images.index).loc[row, "label"]
    return draw_image_maps(pixels, table, title=title)

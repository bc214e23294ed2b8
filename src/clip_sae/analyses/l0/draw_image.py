"""One image beside the L0 of its own patches, layer by layer.

Steering paper §5.2: where in an image the many active latents sit.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from clip_sae.analyses.l0.draw_maps import plot_map
from clip_sae.plotting import theme


def draw_image_maps(pixels: np.ndarray, image_l0: pd.DataFrame, *, title: str = "") -> Figure:
    """Return the image and, on one colour scale, a map of its L0 per layer.

    Args:
        pixels: the image as the model sees it, uint8 [height, width, channel].
        image_l0: columns layer, token, token_type, row, column, l0
            (`clip_sae.analyses.l0.image_l0`, all layers).
    """
    theme.require_columns(
        image_l0, ["layer", "token", "token_type", "row", "column", "l0"], "the maps"
    )
    layers = sorted(image_l0["layer"].unique())
    figure = theme.new_figure(theme.PAGE_WIDTH, 1.75)
    axes = figure.subplots(1, 1 + len(layers))
    axes[0].imshow(pixels)
    axes[0].set_axis_off()
    axes[0].set_title(title, loc="center")
    patches = image_l0.loc[image_l0["token_type"] == "patch", "l0"]
    limits = (float(patches.min()), float(patches.max()))
    for ax, layer in zip(axes[1:], layers, strict=True):
        rows = image_l0[image_l0["layer"] == layer]
        image = plot_map(rows, ax, value="l0", limits=limits)
        ax.set_title(f"layer {layer}", loc="center")
    bar = figure.colorbar(image, ax=list(axes[1:]), shrink=0.8)
    bar.outline.set_visible(False)
    bar.set_label("L0")
    return figure

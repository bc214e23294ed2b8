"""Draw one of the L0 figures: Fig. 4, Fig. 8, the norms beside them, or the maps of one image."""

from pathlib import Path

import pandas as pd
from _figure import draw

from clip_sae.datasets import decode_image, read_manifest
from clip_sae.plotting.l0 import draw_l0_figure, draw_l0_maps
from clip_sae.plotting.l0_image import draw_image_maps


def table(arguments, name):
    return pd.read_csv(arguments["tables"][name])


def fig4(arguments):
    tokens, layers = table(arguments, "tokens"), table(arguments, "layers")
    return draw_l0_figure(tokens, layers, layer=arguments["map_layer"])


def fig8(arguments):
    return draw_l0_maps(table(arguments, "tokens"))


def token_norms(arguments):
    return draw_l0_maps(table(arguments, "tokens"), value="mean_norm", label="mean token norm")


def l0_image(arguments):
    image_l0 = table(arguments, "image")
    row = read_manifest(Path(arguments["index"])).loc[image_l0["source_index"].iloc[0]]
    pixels = decode_image(Path(arguments["root"]) / row["path"], **arguments["decoding"])
    return draw_image_maps(pixels, image_l0, title=row["label"])


FIGURES = {"fig4": fig4, "fig8": fig8, "token_norms": token_norms, "l0_image": l0_image}

draw(snakemake, lambda arguments: FIGURES[arguments["figure"]](arguments))

"""Draw Fig. 4: L0 map, box plot per token, and L0 by layer beside GPT-2's."""

import pandas as pd

from _figure import draw
from clip_sae.plotting.l0 import draw_l0_figure


def figure(arguments):
    tokens, layers = (pd.read_csv(arguments["tables"][name]) for name in ("tokens", "layers"))
    return draw_l0_figure(tokens, layers, layer=arguments["map_layer"])


draw(snakemake, figure)

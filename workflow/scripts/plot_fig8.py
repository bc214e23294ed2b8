"""Draw Fig. 8: the L0 map of every layer."""

import pandas as pd

from _figure import draw
from clip_sae.plotting.l0 import draw_l0_maps

draw(snakemake, lambda arguments: draw_l0_maps(pd.read_csv(arguments["tables"]["tokens"])))

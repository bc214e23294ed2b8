"""Draw the lr x l1 sweep."""

import pandas as pd
from _figure import draw

from clip_sae.plotting.sweep import draw_sweep

draw(snakemake, lambda arguments: draw_sweep(pd.read_csv(arguments["csv"])))

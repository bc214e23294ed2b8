"""Draw the firing-rate histograms."""

import pandas as pd
from _figure import draw

from clip_sae.plotting.firing import draw_firing

draw(snakemake, lambda arguments: draw_firing(pd.read_csv(arguments["csv"])))

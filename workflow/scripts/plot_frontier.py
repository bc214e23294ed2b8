"""Draw the frontier of all architectures."""

import pandas as pd
from _figure import draw

from clip_sae.analyses.frontier import over_seeds
from clip_sae.plotting.frontier import draw_frontier

draw(snakemake, lambda arguments: draw_frontier(over_seeds(pd.read_csv(arguments["csv"]))))

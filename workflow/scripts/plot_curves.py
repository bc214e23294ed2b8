"""Draw the training curves of all SAEs."""

import pandas as pd
from _figure import draw

from clip_sae.plotting.curves import draw_training_curves

draw(snakemake, lambda arguments: draw_training_curves(pd.read_csv(arguments["csv"])))

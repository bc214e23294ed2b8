"""Draw accuracy against the number of latents that are kept, or taken out."""

import pandas as pd
from _figure import draw

from clip_sae.plotting.class_concepts import draw_class_concepts

draw(snakemake, lambda arguments: draw_class_concepts(pd.read_csv(arguments["csv"])))

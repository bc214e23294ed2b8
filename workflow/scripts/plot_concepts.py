"""Draw all latents: sparsity, mean activation, label entropy."""

import pandas as pd
from _figure import draw

from clip_sae.plotting.concepts import draw_concepts_scatter


def figure(arguments):
    title = f"{arguments['sae']}, layer {arguments['layer']}, on {arguments['dataset']}"
    table = pd.read_csv(arguments["csv"])
    return draw_concepts_scatter(table, title=title, top_images=arguments["top_images"])


draw(snakemake, figure)

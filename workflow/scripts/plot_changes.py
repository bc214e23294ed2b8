"""Draw what adaptation changes: accuracies of the crossings, latents, overlaps."""

import pandas as pd
from _figure import draw

from clip_sae.plotting.adaptation_changes import draw_changes

draw(
    snakemake,
    lambda arguments: draw_changes(
        {name: pd.read_csv(path) for name, path in arguments["tables"].items()},
        kinds=arguments["caption"]["kinds"],
    ),
)

"""Draw accuracies on base and novel classes of the frozen model and of every adaptation."""

import pandas as pd
from _figure import draw

from clip_sae.plotting.adaptation import draw_adaptation

draw(
    snakemake,
    lambda arguments: draw_adaptation(
        *(pd.read_csv(arguments[name]) for name in ("csv", "runs")), arguments["caption"]["kinds"]
    ),
)

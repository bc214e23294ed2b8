"""Rows of Tables 3 and 4 for all SAEs of one recipe and layer."""

from collections.abc import Sequence

import pandas as pd

from clip_sae.analyses.shared.reconstruction import measure_saes
from clip_sae.planning.inputs import SaeFiles
from clip_sae.planning.recipes import SaeRecipe


def measure_reconstruction(job, *, saes: Sequence[SaeFiles], **inputs: object) -> pd.DataFrame:
    """Return a row per SAE and token subset: EV, L0, cosines, cross-entropies, with intervals.

    Args:
        inputs: the other arguments of `measure_saes`.
    """
    table = measure_saes(job, saes=saes, **inputs)
    table.insert(0, "recipe", saes[0].name)
    recipes = {sae.variant: SaeRecipe.from_dict(sae.recipe) for sae in saes}
    for column in ("l1_coefficient", "k"):  # to match the paper's rows
        table.insert(4, column, table["sae"].map(lambda v, c=column: getattr(recipes[v], c)))
    return table

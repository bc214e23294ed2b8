"""Quality and L0 of all SAEs of one recipe of the frontier, on all tokens of held-out images."""

from collections.abc import Sequence

import pandas as pd

from clip_sae.analyses.shared.reconstruction import measure_saes
from clip_sae.planning.inputs import SaeFiles
from clip_sae.planning.recipes import SaeRecipe

# Columns of `reconstruction_table` that the frontier keeps; Tables 3 and 4 show the others.
COLUMNS = [
    *("layer", "hook", "n_images", "n_tokens", "d_sae", "alive_latents"),
    *("l0", "l0_low", "l0_high"),
    *("explained_variance", "explained_variance_low", "explained_variance_high"),
    *("ce_recovered", "ce_recovered_low", "ce_recovered_high"),
    *("ce", "recon_ce", "zero_ce", "embedding_cosine"),
]


def measure_frontier(job, *, saes: Sequence[SaeFiles], **inputs: object) -> pd.DataFrame:
    """Return a row per SAE of a recipe, scored by the first readout.

    Args:
        inputs: the other arguments of `measure_saes`.
    """
    table = measure_saes(job, saes=saes, n_readouts=1, subsets=["all"], **inputs)
    recipes = {sae.variant: SaeRecipe.from_dict(sae.recipe) for sae in saes}
    facts = [_facts(recipes[variant]) for variant in table["sae"]]
    table = table[COLUMNS].assign(alive_fraction=table["alive_latents"] / table["d_sae"])
    for position, name in enumerate(facts[0]):
        table.insert(position, name, [one[name] for one in facts])
    table.insert(0, "recipe", saes[0].name)
    return table


def _facts(recipe: SaeRecipe) -> dict:
    """Return the columns that identify an SAE: its kind, its sparsity setting, its seed."""
    return {
        "architecture": recipe.architecture,
        "decoder_norm": "unit" if recipe.unit_norm else "free",
        "knob": recipe.sparsity_knob,
        "knob_value": getattr(recipe, recipe.sparsity_knob),
        "seed": recipe.seed,
    }

"""Quality and L0 of all SAEs of one recipe of the frontier, on all tokens of held-out images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.shared.models import class_names, load_model
from clip_sae.analyses.shared.reconstruction import reconstruction_table
from clip_sae.analyses.shared.substitution import standard_readouts
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import ClipFiles, SaeFiles
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore

# A CSV of points: the remaining columns of the reconstruction analysis are those of the tables.
COLUMNS = [
    *("layer", "hook", "n_images", "n_tokens", "d_sae", "alive_latents"),
    *("l0", "l0_low", "l0_high"),
    *("explained_variance", "explained_variance_low", "explained_variance_high"),
    *("ce_recovered", "ce_recovered_low", "ce_recovered_high"),
    *("ce", "recon_ce", "zero_ce", "embedding_cosine"),
]


def measure_frontier(
    job,
    *,
    clip: ClipFiles,
    index: Path,
    stores: Mapping[str, Path],
    saes: Sequence[SaeFiles],
    templates: str | Sequence[str],
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return a row per SAE of a recipe; `stores` by hook."""
    model, hook = load_model(job, clip), saes[0].hook
    opened = {name: ActivationStore(path) for name, path in stores.items()}
    table = reconstruction_table(
        {sae.variant: Sae.load(sae.folder) for sae in sorted(saes, key=lambda s: s.variant)},
        model,
        opened["resid_post"],
        read_manifest(index)["label_idx"].to_numpy(),
        standard_readouts(model, class_names(index), templates)[:1],  # the headline
        layer=saes[0].layer,
        hook=hook,
        hook_store=None if hook == "resid_post" else opened[hook],
        subsets=["all"],
        n_resamples=resamples,
        seed=seed,
    )
    recipes = {sae.variant: SaeRecipe.from_dict(sae.recipe) for sae in saes}
    what = [_facts(recipes[variant]) for variant in table["sae"]]
    table = table[COLUMNS].assign(alive_fraction=table["alive_latents"] / table["d_sae"])
    for position, name in enumerate(what[0]):
        table.insert(position, name, [facts[name] for facts in what])
    table.insert(0, "recipe", saes[0].name)
    return table


def _facts(recipe: SaeRecipe) -> dict:
    """What tells an SAE of the frontier from others: its kind, its place on the curve, its seed."""
    return {
        "architecture": recipe.architecture,
        "decoder_norm": recipe.decoder_norm,
        "knob": recipe.sparsity_knob,
        "knob_value": getattr(recipe, recipe.sparsity_knob),
        "seed": recipe.seed,
    }

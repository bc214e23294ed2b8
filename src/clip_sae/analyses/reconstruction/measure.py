"""Rows of Tables 3 and 4 for all SAEs of one recipe and layer."""

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


def measure_reconstruction(
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
    """Return a row per SAE and token subset: EV, L0, cosines, cross-entropies, with intervals."""
    model, hook = load_model(job, clip), saes[0].hook
    opened = {name: ActivationStore(path) for name, path in stores.items()}
    table = reconstruction_table(
        {sae.variant: Sae.load(sae.folder) for sae in sorted(saes, key=lambda s: s.variant)},
        model,
        opened["resid_post"],
        read_manifest(index)["label_idx"].to_numpy(),
        standard_readouts(model, class_names(index), templates),
        layer=saes[0].layer,
        hook=hook,
        hook_store=None if hook == "resid_post" else opened[hook],
        n_resamples=resamples,
        seed=seed,
    )
    table.insert(0, "recipe", saes[0].name)
    recipes = {sae.variant: SaeRecipe.from_dict(sae.recipe) for sae in saes}
    for column in ("l1_coefficient", "k"):  # to match the paper's rows
        table.insert(4, column, table["sae"].map(lambda v, c=column: getattr(recipes[v], c)))
    return table

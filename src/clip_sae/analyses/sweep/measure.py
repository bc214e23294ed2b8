"""Explained variance, L0 and alive latents of every SAE of the sweep, and the one to keep."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.sweep.points import choose_sweep_point, held_out_quality
from clip_sae.planning.inputs import SaeFiles
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def measure_sweep(
    job, *, stores: Mapping[str, Path], saes: Sequence[SaeFiles], max_l0: float
) -> pd.DataFrame:
    """Return a row per SAE; `stores` by layer, as text."""
    device, rows = job.torch_device(), []
    for sae in saes:
        quality = held_out_quality(
            ActivationStore(stores[str(sae.layer)]), Sae.load(sae.folder, device)
        )
        recipe = SaeRecipe.from_dict(sae.recipe)
        names = {"variant": sae.variant, "layer": sae.layer}
        names |= {"lr": recipe.lr, "l1_coefficient": recipe.l1_coefficient}
        rows.append(names | quality)
    table = pd.DataFrame(rows)
    try:
        return choose_sweep_point(table, max_l0=max_l0)
    except ValueError as reason:  # the grid is a result even if no point of it will do
        job.log.warning("none is marked as chosen: %s", reason)
        return table.assign(chosen=False)

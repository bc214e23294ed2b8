"""The learning-rate × sparsity sweep: scores of every SAE, and the choice of the one to keep.

Steering paper App. 10.1: lr swept over 1e-5…1e-1, l1_coefficient over 1e-12…1; it names no rule.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from clip_sae.analyses.shared.activity import check_width
from clip_sae.analyses.shared.sae_stores import each_sae
from clip_sae.metrics import ReconstructionSums
from clip_sae.planning.inputs import SaeFiles
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore, to_float32


def measure_sweep(
    job, *, stores: Mapping[str, Path], saes: Sequence[SaeFiles], max_l0: float
) -> pd.DataFrame:
    """Return a row per SAE, the chosen one marked; `stores` as for `each_sae`."""
    rows = []
    for files, sae, store in each_sae(job, saes, stores):
        recipe = SaeRecipe.from_dict(files.recipe)
        names = {"variant": files.variant, "layer": files.layer}
        names |= {"lr": recipe.lr, "l1_coefficient": recipe.l1_coefficient}
        rows.append(names | held_out_quality(store, sae))
    table = pd.DataFrame(rows)
    try:
        return choose_sweep_point(table, max_l0=max_l0)
    except ValueError as reason:  # the grid is a result even if no SAE fits the rule
        job.log.warning("none is marked as chosen: %s", reason)
        return table.assign(chosen=False)


@torch.inference_mode()
def held_out_quality(
    store: ActivationStore, sae: Sae, *, batch_images: int = 64
) -> dict[str, float]:
    """Return the scores of one SAE on a store that it was not trained on; no model runs.

    Keys: explained_variance, l0 (mean per token), alive_latents, dead_latents, d_sae, n_images,
    n_tokens. Every token counts, CLS too. A diverged SAE has a NaN explained_variance.
    """
    check_width(store, sae)
    n_images, d_sae = store.n_images, sae.W_dec.shape[0]
    sums, n_active = ReconstructionSums(), 0
    alive = torch.zeros(d_sae, dtype=torch.bool, device=sae.W_dec.device)
    for start in range(0, n_images, batch_images):
        x = to_float32(store.read(start, min(start + batch_images, n_images)))
        encoded = sae.encode(torch.from_numpy(x).to(sae.W_dec.device))
        active = encoded.latents > 0  # [image token d_sae]
        n_active += int(active.sum())
        alive |= active.any(0).any(0)
        x_hat = sae.decode(encoded.latents, encoded.mean, encoded.std)
        sums.update(x, x_hat.cpu().numpy())
    n_alive = int(alive.sum())
    return {
        "explained_variance": sums.explained_variance,
        "l0": n_active / sums.n_tokens,
        "alive_latents": n_alive,
        "dead_latents": d_sae - n_alive,
        "d_sae": d_sae,
        "n_images": n_images,
        "n_tokens": sums.n_tokens,
    }


def choose_sweep_point(
    table: pd.DataFrame, *, max_l0: float, min_alive_fraction: float = 0.5
) -> pd.DataFrame:
    """Return `table` with a boolean column `chosen`, True on the row of the SAE to keep.

    ASSUME: the highest explained variance on held-out tokens among the SAEs with l0 ≤ `max_l0` and
    at least `min_alive_fraction` of their latents alive; ties go to the lower l0. `table` has the
    columns explained_variance, l0, alive_latents and d_sae. A diverged SAE has NaNs and never wins.
    """
    alive_fraction = table.alive_latents / table.d_sae
    allowed = table[
        (table.l0 <= max_l0)
        & (alive_fraction >= min_alive_fraction)
        & table.explained_variance.notna()
    ]
    if allowed.empty:
        raise ValueError(
            f"no SAE of the sweep has l0 ≤ {max_l0:g} and {min_alive_fraction:.0%} of its latents "
            f"alive; l0 runs from {table.l0.min():g} to {table.l0.max():g}, alive latents reach "
            f"{alive_fraction.max():.0%}. Widen the grid or relax the rule"
        )
    best = allowed.sort_values(["explained_variance", "l0"], ascending=[False, True]).index[0]
    return table.assign(chosen=table.index == best)

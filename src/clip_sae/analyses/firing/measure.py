"""Firing rates of the latents of every SAE, and the curves of the SAEs' training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.shared.activity import measure_activity
from clip_sae.analyses.shared.firing import firing_histogram
from clip_sae.analyses.shared.sae_stores import each_sae
from clip_sae.planning.inputs import SaeFiles


def measure_firing(job, *, stores: Mapping[str, Path], saes: Sequence[SaeFiles]) -> pd.DataFrame:
    """Return the histograms of all SAEs' firing rates; `stores` as for `each_sae`."""
    tables = []
    for files, sae, store in each_sae(job, saes, stores):
        fired, n_tokens = measure_activity(store, sae).fired()
        table = firing_histogram(fired, n_tokens, layer=files.layer, recipe=files.label)
        tables.append(table.assign(variant=files.variant, hook=files.hook))
    return pd.concat(tables, ignore_index=True)


def training_curves(job, *, saes: Sequence[SaeFiles]) -> pd.DataFrame:
    """Return the rows of every SAE's curve.csv, with the SAE's names."""
    curves = [
        pd.read_csv(sae.folder / "curve.csv").assign(
            recipe=sae.label, variant=sae.variant, layer=sae.layer, hook=sae.hook
        )
        for sae in saes
    ]
    job.facts["saes"] = len(curves)
    return pd.concat(curves, ignore_index=True)

"""How often each latent fires: the histogram of every SAE's firing rates, dead ones counted."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.shared.activity import measure_activity
from clip_sae.analyses.shared.firing import firing_histogram
from clip_sae.planning.inputs import SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def measure_firing(job, *, stores: Mapping[str, Path], saes: Sequence[SaeFiles]) -> pd.DataFrame:
    """Return the histograms of all SAEs; `stores` are named "<hook> <layer>"."""
    device, tables = job.torch_device(), []
    for sae in saes:
        job.log.info("%s %s, layer %d", sae.label, sae.variant, sae.layer)
        store = ActivationStore(stores[f"{sae.hook} {sae.layer}"])
        activity = measure_activity(store, Sae.load(sae.folder, device))
        fired, n_tokens = activity.fired()
        table = firing_histogram(fired, n_tokens, layer=sae.layer, recipe=sae.label)
        tables.append(table.assign(variant=sae.variant, hook=sae.hook))
    return pd.concat(tables, ignore_index=True)

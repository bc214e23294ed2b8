"""The training curves of all SAEs in one table."""

from collections.abc import Sequence

import pandas as pd

from clip_sae.planning.inputs import SaeFiles


def training_curves(job, *, saes: Sequence[SaeFiles]) -> pd.DataFrame:
    """Return curve.csv of every SAE, with the SAE's names."""
    curves = [
        pd.read_csv(sae.folder / "curve.csv").assign(
            recipe=sae.label, variant=sae.variant, layer=sae.layer, hook=sae.hook
        )
        for sae in saes
    ]
    job.facts["saes"] = len(curves)
    return pd.concat(curves, ignore_index=True)

"""L0 of every token position of every layer, of the layers, and of one image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.l0.positions import beside_gpt2, image_l0, l0_by_layer, l0_by_token
from clip_sae.analyses.shared.activity import measure_activity
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def measure_l0(
    job,
    *,
    saes: Sequence[SaeFiles],
    stores: Sequence[Path],
    index: Path,
    gpt2: Path,
    split: str,
    single_image: int,
    resamples: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Return {"tokens", "layers", "image"}; `stores` in the order of `saes`, one per layer."""
    manifest = read_manifest(index, split)
    rows = manifest.index[manifest["status"] == "ok"]
    device = job.torch_device()
    tokens, layers, image = [], [], []
    for sae, path in zip(saes, stores, strict=True):
        job.log.info("layer %d", sae.layer)
        activity = measure_activity(ActivationStore(path), Sae.load(sae.folder, device))
        tokens.append(l0_by_token(activity, layer=sae.layer))
        layers.append(l0_by_layer(activity, layer=sae.layer, n_resamples=resamples, seed=seed))
        row = int(np.flatnonzero(activity.source_index == rows[single_image])[0])
        image.append(image_l0(activity, row, layer=sae.layer))
    return {
        "tokens": pd.concat(tokens, ignore_index=True),
        "layers": beside_gpt2(pd.concat(layers, ignore_index=True), pd.read_csv(gpt2, comment="#")),
        "image": pd.concat(image, ignore_index=True),
    }

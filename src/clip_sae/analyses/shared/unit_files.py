"""What a label of units names: the latents of an SAE, or neurons; and which of them are chosen."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.shared.names import NEURONS
from clip_sae.analyses.shared.units import Latents, Neurons, Units
from clip_sae.clip.model import ClipModel
from clip_sae.planning.inputs import SaeFiles
from clip_sae.sae import Sae


def units_of(label: str, saes: Sequence[SaeFiles], model: ClipModel) -> tuple[Units, np.ndarray]:
    """Return the units that a label names, and their unit directions [unit, d_model] float32."""
    if label == NEURONS:
        width = model.architecture.d_model
        return Neurons(width), np.eye(width, dtype=np.float32)
    [found] = [sae for sae in saes if sae.label == label]
    sae = Sae.load(found.folder, model.device)
    rows = sae.W_dec / sae.W_dec.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return Latents(sae), rows.cpu().numpy()


def chosen_units(chosen: Mapping[str, Path], kind: str) -> tuple[str, np.ndarray]:
    """Return (label, unit indices) of the set chosen of a kind: "latents" or "neurons".

    Args:
        chosen: {"choice", "units"}, tables of `choose_typographic`.
    """
    table, units = (pd.read_csv(chosen[name]) for name in ("choice", "units"))
    [label] = table.loc[table["chosen"] & (table["kind"] == kind), "label"]
    return label, np.sort(units.loc[units["kind"] == kind, "unit"].to_numpy(dtype=np.int64))


def unit_file(folder: Path, what: str, label: str) -> Path:
    """The file of a sweep's folder with "responses" or "cosines" of the units of a label."""
    return folder / f"{what}-{label.replace('/', '_')}.npz"

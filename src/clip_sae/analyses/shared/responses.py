"""Responses of units to attacks, their files, and the units that a label names.

Steering paper Eq. 9 with D_A the attacked and D_Ā the clean images (§7.2). The images are paired,
so the gap's standard error is that of the paired difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from clip_sae.analyses.shared.names import NEURONS
from clip_sae.analyses.shared.units import Latents, Neurons, Units
from clip_sae.clip.model import ClipModel
from clip_sae.npz import read_arrays, write_arrays
from clip_sae.planning.inputs import SaeFiles
from clip_sae.sae import Sae


@dataclass(frozen=True)
class Responses:
    """[unit] float64 each: means over pairs and the tokens that are read."""

    clean: np.ndarray  # mean value on clean images
    attacked: np.ndarray  # mean value on attacked images
    gap_se: np.ndarray  # standard error of the mean paired difference
    active: np.ndarray  # share of the images (clean and attacked) on which the unit is not 0
    n_pairs: int

    @property
    def gap(self) -> np.ndarray:
        """attacked − clean."""
        return self.attacked - self.clean

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        write_arrays(path, vars(self))

    @classmethod
    def load(cls, path: Path) -> "Responses":
        """Read what `save` wrote."""
        columns = read_arrays(path)
        return cls(n_pairs=int(columns.pop("n_pairs")), **columns)


@torch.inference_mode()
def measure_responses(
    units: Units,
    clean: Tensor,
    attacked: Tensor,
    *,
    batch_images: int = 256,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Responses:
    """Return the responses of `units` to pairs [image, token, d_model]; sums are float64."""
    if clean.shape != attacked.shape or len(clean) < 2:
        raise ValueError(
            f"pairs are needed, at least two: clean is {list(clean.shape)}, attacked "
            f"{list(attacked.shape)}."
        )
    sums = torch.zeros(5, units.n_units, dtype=torch.float64)
    starts = range(0, len(clean), batch_images)
    for start in tqdm(starts, desc="responses", unit="batch", disable=not progress):
        rows = slice(start, start + batch_images)
        sides = [units.read(x[rows].to(device)) for x in (clean, attacked)]
        means = [values.mean(1).double() for values in sides]  # [image unit]
        active = [(values != 0).any(1).double() for values in sides]
        difference = means[1] - means[0]
        batch = [means[0], means[1], difference, difference.square(), active[0] + active[1]]
        sums += torch.stack([column.sum(0) for column in batch]).cpu()
    n = len(clean)
    mean_clean, mean_attacked, mean, square, active = (sums / n).numpy()
    variance = np.maximum(square - mean**2, 0) * n / (n - 1)
    return Responses(mean_clean, mean_attacked, np.sqrt(variance / n), active / 2, n)


def units_of(label: str, saes: Sequence[SaeFiles], model: ClipModel) -> tuple[Units, np.ndarray]:
    """Return the units that a label names, and their unit directions [unit, d_model] float32."""
    if label == NEURONS:
        width = model.architecture.d_model
        return Neurons(width), np.eye(width, dtype=np.float32)
    [found] = [sae for sae in saes if sae.label == label]
    sae = Sae.load(found.folder, model.device)
    rows = sae.W_dec / sae.W_dec.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return Latents(sae), rows.cpu().numpy()


def chosen_of_kind(chosen: Mapping[str, Path], kind: str) -> tuple[str, np.ndarray]:
    """Return (label, unit indices) of the set chosen of a kind: "latents" or "neurons".

    Args:
        chosen: {"choice", "units"}, tables of `choose_typographic`.
    """
    table, units = (pd.read_csv(chosen[name]) for name in ("choice", "units"))
    [label] = table.loc[table["chosen"] & (table["kind"] == kind), "label"]
    return label, np.sort(units.loc[units["kind"] == kind, "unit"].to_numpy(dtype=np.int64))


def unit_file(folder: Path, what: str, label: str) -> Path:
    """Return a sweep's file of "responses" or "cosines" of the units that a label names."""
    return folder / f"{what}-{label.replace('/', '_')}.npz"

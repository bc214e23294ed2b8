"""The chosen set that Figs 1, 2, 3 and 10 are of, its units, and the answers without them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.pictures.chosen import pictured_set
from clip_sae.analyses.shared.contrast import Contrast
from clip_sae.analyses.shared.named_records import read_records
from clip_sae.analyses.shared.names import NEURONS
from clip_sae.analyses.shared.responses import Responses, unit_file
from clip_sae.analyses.shared.unit_sets import chosen_units
from clip_sae.clip.zeroshot import logits
from clip_sae.planning.inputs import SaeFiles

Saes = Mapping[str, Mapping[str, SaeFiles]]  # {layer: {label: SAE}}


@dataclass(frozen=True)
class PicturedSet:
    """A chosen set of latents and the neurons that the same rule chooses at its layer.

    Attributes:
        layer: as text, as stores and SAEs are named.
        sae: of the latents; condition: how the set was chosen, in words.
        tokens: over which the gap was taken.
        chosen: {"latent", "neuron": unit indices}, ascending; gap: the same, of all units.
    """

    layer: str
    sae: SaeFiles
    condition: str
    tokens: str
    chosen: Mapping[str, np.ndarray]
    gap: Mapping[str, np.ndarray]


def pictured(
    chosen: Mapping[str, Path], gaps: Mapping[str, Path], saes: Saes
) -> PicturedSet | None:
    """Return the set that the pictures of a data set are of; None where nothing was chosen.

    Args:
        chosen: {"summary"} of a set with a spurious attribute, {"choice", "units"} of attacked
            pairs.
        gaps: files with the contrasts of each layer; on attacked pairs {label: folder of its
            sweep}.
    """
    found = _of_attribute if "summary" in chosen else _of_pairs
    return found({name: pd.read_csv(path) for name, path in chosen.items()}, gaps, saes)


def _of_attribute(
    tables: Mapping[str, pd.DataFrame], gaps: Mapping[str, Path], saes: Saes
) -> PicturedSet | None:
    summary = tables["summary"]
    row = pictured_set(summary, {label for by_label in saes.values() for label in by_label})
    if row is None:
        return None
    layer = str(int(row["layer"]))
    contrasts = read_records(gaps[layer], Contrast)
    rows = {"latent": row, "neuron": _neurons_of(summary, row)}
    names = {"latent": row["units"], "neuron": NEURONS}
    return PicturedSet(
        layer,
        saes[layer][row["units"]],
        f"{row['condition']} condition",
        row["tokens"],
        {
            kind: chosen_units(contrasts[names[kind]], rows[kind])
            if rows[kind]["n_units"]
            else np.zeros(0, np.int64)
            for kind in rows
        },
        {kind: contrasts[name].gap(row["tokens"], row["contrast"]) for kind, name in names.items()},
    )


def _neurons_of(summary: pd.DataFrame, row: pd.Series) -> pd.Series:
    """The row of the neurons that the same rule chose at the layer of `row`."""
    [(_, found)] = summary[
        (summary["kind"] == "neuron")
        & (summary["layer"] == row["layer"])
        & (summary["split"] == row["split"])
        & (summary["condition"] == row["condition"])
    ].iterrows()
    return found


def _of_pairs(
    tables: Mapping[str, pd.DataFrame], gaps: Mapping[str, Path], saes: Saes
) -> PicturedSet | None:
    choice, units = tables["choice"], tables["units"]
    row = choice[choice["chosen"]].set_index("kind").loc["latents"]
    if row["n_units"] == 0:
        return None
    [layer] = saes
    names = {"latent": row["label"], "neuron": NEURONS}
    kinds = {"latent": "latents", "neuron": "neurons"}
    of_kind = {kind: units[units["kind"] == name] for kind, name in kinds.items()}
    return PicturedSet(
        layer,
        saes[layer][row["label"]],
        f"tau {row['tau']:.2g}, lambda {row['lambda']:.2g}",
        "cls",
        {kind: np.sort(table["unit"].to_numpy(np.int64)) for kind, table in of_kind.items()},
        {
            kind: Responses.load(unit_file(gaps[name], "responses", name)).gap
            for kind, name in names.items()
        },
    )


def class_probabilities(embeddings: Tensor, text: Tensor, scale: float) -> np.ndarray:
    """Probabilities [image, class], the model's own temperature."""
    found = logits(embeddings.to(text.device), text, scale)
    return found.double().softmax(-1).cpu().numpy()

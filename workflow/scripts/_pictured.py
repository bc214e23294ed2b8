"""The chosen set that Figs 1, 2, 3 and 10 are of, its units, and the answers without them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.pictures import pictured_set
from clip_sae.analyses.suppression.contrast import read_contrasts
from clip_sae.analyses.suppression.sets import chosen_units
from clip_sae.analyses.typographic.responses import Responses
from clip_sae.zeroshot import logits

NEURONS = "neurons"


@dataclass(frozen=True)
class PicturedSet:
    """A chosen set of latents and the neurons that the same rule chooses at its layer.

    Attributes:
        layer: as text, as the arguments name it.
        label: of the SAE; condition: how the set was chosen, in words.
        tokens: over which the gap was taken.
        chosen: {"latent", "neuron": unit indices}, ascending; gap: the same, of all units.
    """

    layer: str
    label: str
    condition: str
    tokens: str
    chosen: Mapping[str, np.ndarray]
    gap: Mapping[str, np.ndarray]


def pictured(arguments: Mapping) -> PicturedSet | None:
    """The set that the pictures of a data set are of; None where nothing was chosen."""
    return _of_pairs(arguments) if arguments["pairs"] else _of_attribute(arguments)


def _of_attribute(arguments: Mapping) -> PicturedSet | None:
    summary = pd.read_csv(arguments["chosen"]["summary"])
    row = pictured_set(summary, arguments["labels"])
    if row is None:
        return None
    layer = str(int(row["layer"]))
    contrasts = read_contrasts(Path(arguments["gaps"][layer]))
    [neurons] = [
        found
        for _, found in summary[
            (summary["kind"] == "neuron")
            & (summary["layer"] == row["layer"])
            & (summary["split"] == row["split"])
            & (summary["condition"] == row["condition"])
        ].iterrows()
    ]
    rows = {"latent": row, "neuron": neurons}
    names = {"latent": row["units"], "neuron": NEURONS}
    return PicturedSet(
        layer,
        row["units"],
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


def _of_pairs(arguments: Mapping) -> PicturedSet | None:
    choice, units = (pd.read_csv(arguments["chosen"][table]) for table in ("choice", "units"))
    chosen = choice[choice["chosen"]].set_index("kind")
    row = chosen.loc["latents"]
    if row["n_units"] == 0:
        return None
    [layer] = arguments["stores"]
    names = {"latent": row["label"], "neuron": NEURONS}
    kinds = {"latent": "latents", "neuron": "neurons"}
    of_kind = {kind: units[units["kind"] == name] for kind, name in kinds.items()}
    return PicturedSet(
        layer,
        row["label"],
        f"tau {row['tau']:.2g}, lambda {row['lambda']:.2g}",
        "cls",
        {kind: np.sort(table["unit"].to_numpy(np.int64)) for kind, table in of_kind.items()},
        {kind: Responses.load(Path(arguments["gaps"][name])).gap for kind, name in names.items()},
    )


def class_probabilities(embeddings: Tensor, text: Tensor, scale: float) -> np.ndarray:
    """Probabilities [image, class], the model's own temperature."""
    found = logits(embeddings.to(text.device), text, scale)
    return found.double().softmax(-1).cpu().numpy()

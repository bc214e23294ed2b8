"""Choices of Figs 1, 2, 3 and 10: the set of units, and the image that shows its effect.

Steering paper §7.1 and App. 12. The set is the one that validation prefers among those that are not
empty; its units are those with the largest gap (Eq. 9).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.shared.contrast import Contrast
from clip_sae.analyses.shared.named_records import read_records
from clip_sae.analyses.shared.names import CONDITIONS, NEURONS
from clip_sae.analyses.shared.responses import Responses, unit_file
from clip_sae.analyses.shared.unit_sets import chosen_units
from clip_sae.planning.inputs import SaeFiles

Saes = Mapping[str, Mapping[str, SaeFiles]]  # {layer: {label: SAE}}


@dataclass(frozen=True)
class PicturedSet:
    """A chosen set of latents and the neurons that the same rule chooses at its layer.

    Attributes:
        layer: as text, as stores and SAEs are named.
        sae: of the latents; condition: of the choice, in words.
        tokens: that the gap covers.
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
    """Return the set that the pictures of a data set show; None where all sets are empty.

    Args:
        chosen: tables: {"summary"} of a set with a spurious attribute, {"choice", "units"} of
            attacked pairs.
        gaps: {layer: file with its contrasts}; on attacked pairs {label: folder of its sweep}.
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
    """Return the row of the neurons that the same rule chose at the layer of `row`."""
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


def pictured_set(summary: pd.DataFrame, labels: Collection[str]) -> pd.Series | None:
    """Return the row of the set of latents that pictures show; None where all sets are empty.

    The set is the strict condition's at the layer and SAE that are best on validation, or the
    relaxed one's if the strict condition chose no unit anywhere.

    Args:
        summary: of one data set, from `summarise_layer`, all layers.
        labels: of the SAEs in the set's tables.
    """
    rows = summary[
        (summary["kind"] == "latent")
        & (summary["split"] == "test")
        & (summary["n_units"] > 0)
        & summary["units"].isin(list(labels))
    ]
    for condition in CONDITIONS:
        found = rows[rows["condition"] == condition]
        if len(found):
            order = ["val_worst", "val_overall", "layer"]
            ranked = found.sort_values(order, ascending=[False, False, True], kind="stable")
            return ranked.iloc[0]
    return None


def example_image(
    before: np.ndarray, after: np.ndarray, label: np.ndarray, allowed: np.ndarray | None = None
) -> int:
    """Return the image that shows the effect of the edit best.

    Among images answered wrongly before and rightly after it, the one whose true class rises most;
    if there is no such image, the one whose true class rises most of all.

    Args:
        before, after: class probabilities [image, class].
        label: true class [image].
        allowed: [image] bool, images that may be shown; None: all.
    """
    allowed = np.ones(len(label), dtype=bool) if allowed is None else allowed
    if not allowed.any():
        raise ValueError("no image may be shown; name a group or split that has images.")
    true = np.arange(len(label)), label
    rise = after[true] - before[true]
    corrected = allowed & (before.argmax(1) != label) & (after.argmax(1) == label)
    return int(np.argmax(np.where(corrected if corrected.any() else allowed, rise, -np.inf)))


def strongest_units(values: np.ndarray, units: np.ndarray, n: int) -> np.ndarray:
    """Return up to `n` of `units` that are most active on one image, by their mean over tokens.

    Args:
        values: [token, unit], of all units, on the image. Units that are 0 on it are left out.
    """
    units = np.asarray(units, dtype=np.int64)
    mean = values[:, units].mean(0)
    order = np.argsort(-mean, kind="stable")
    return units[order[mean[order] > 0][:n]]


def top_classes(probability: np.ndarray, names: Sequence[str], n: int) -> list[list]:
    """Return [[name, probability]] of the `n` most probable classes of one image.

    Args:
        probability: [class].
    """
    order = np.argsort(-probability, kind="stable")[:n]
    return [[names[c], float(probability[c])] for c in order]


def example_row(manifest: pd.DataFrame, path: str, rows: np.ndarray) -> np.ndarray:
    """Return the manifest rows among `rows` of the image `path` that the config requests.

    Raises ValueError for an unknown path.
    """
    found = manifest.index[manifest["path"] == path].intersection(rows)
    if not len(found):
        some = manifest.loc[rows[:1], "path"].iloc[0]
        raise ValueError(
            f"{path!r} is no image of the shown split. Write a path as in manifest.csv "
            f"under analyses.pictures.examples, e.g. {some!r}."
        )
    return found.to_numpy(dtype=np.int64)

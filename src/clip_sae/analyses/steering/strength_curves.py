"""Units along the strength: onset, half-saturation, and the words of a few chosen units.

Steering paper Figs 5 and 9: S grows with the strength and saturates. Traces show ΔP, S and the
probabilities of a unit's words, for one image and for the mean over images. The paper chose its
latents by hand (dragon, tree, apache).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clip_sae.analyses.steering.routes import Routes
from clip_sae.analyses.steering.steered_units import SteeredUnits
from clip_sae.analyses.steering.unit_measures import Words, as_array, measure

TOP = 3  # words that are followed at each strength (Fig. 9)
COLUMNS = [
    *("unit", "role", "strength", "scope", "word", "probability", "change"),
    *("delta_p", "steerability", "onset", "half_saturation", "n_images"),
]
TIGHT = (1.5, 8.0)  # n_effective of a unit that names a few words


def choose_units(units: pd.DataFrame, *, strength: str, gamma: float) -> list[tuple[int, str]]:
    """Return [(unit, role)], at most three, all different and alive.

    perfect: the highest steerability; tight: the highest among those whose answer is spread over a
    few words (n_effective 1.5 to 8, S > gamma); diffuse: the largest total variation among those
    that name no word (S at most gamma, or the lowest S where all are above it).
    `units`: rows of steerability_units of one kind and layer.
    """
    at = units[(units["strength"].astype(str) == strength) & units["alive"]].set_index("unit")
    few = at["n_effective"].between(*TIGHT) & (at["steerability"] > gamma)
    below = at["steerability"] <= max(gamma, at["steerability"].min())
    chosen: dict[str, int] = {}
    for role, part, by in (
        ("perfect", at, "steerability"),
        ("tight", at[few], "steerability"),
        ("diffuse", at[below], "total_variation"),
    ):
        part = part.drop(index=list(chosen.values()), errors="ignore")
        if len(part):
            chosen[role] = int(part[by].idxmax())
    return [(unit, role) for role, unit in chosen.items()]


@torch.inference_mode()
def trace_units(
    units: SteeredUnits,
    routes: Routes,
    words: Sequence[str],
    chosen: Sequence[tuple[int, str]],
    strengths: Sequence[float],
    *,
    strength: float,
    gamma: float,
) -> pd.DataFrame:
    """Return a row per unit, strength, scope and word that is among the top 3 at some strength.

    Args:
        chosen: (unit, role); `units` are all that exist.
        strength: of `half_saturation`; gamma: of `onset`.

    Returns `COLUMNS`: scope is "image0" or "mean"; probability is P̃, change is P̃ − P; delta_p and
    steerability use the mean over images in both scopes; onset and half_saturation are the unit's
    own, NaN if it does not reach them.
    """
    if not chosen:
        raise ValueError(
            "no latent of this layer is alive, so none can be traced. Name some under `traced`, or "
            "train the SAE with a weaker sparsity."
        )
    index = torch.tensor([unit for unit, _ in chosen], device=units.directions.device)
    _check_units(index, len(units))
    vocabulary, directions = Words.of(routes.text), units.directions[index]
    tables = {"image0": [], "mean": []}  # [strength]: (P̃, d) [unit word]
    measures = []
    for at in strengths:
        steered = routes.steer(directions, units.pushes(index, at)).probabilities
        measures.append(measure(steered, routes.clean, vocabulary))
        changes = steered - routes.clean
        tables["image0"].append((steered[:, 0], changes[:, 0]))
        tables["mean"].append((steered.mean(1), changes.mean(1)))
    curves = np.stack([as_array(part.steerability) for part in measures], axis=1)
    starts = onset(strengths, curves, gamma)  # [unit]
    halves = half_saturation(strengths, curves, strength)
    parts = []
    for i, (unit, role) in enumerate(chosen):
        for scope, table in tables.items():
            rows = [
                {"strength": float(at), "delta_p": float(found.delta_p[i])}
                | {"steerability": float(found.steerability[i]), **row}
                for at, (p, d), found in zip(strengths, table, measures, strict=True)
                for row in _word_rows(words, _followed(table, i), p[i], d[i])
            ]
            parts.append(
                pd.DataFrame(rows).assign(
                    unit=unit,
                    role=role,
                    scope=scope,
                    onset=starts[i],
                    half_saturation=halves[i],
                    n_images=len(routes.x),
                )
            )
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _word_rows(words, followed: list[int], probability: Tensor, change: Tensor) -> list[dict]:
    return [
        {"word": words[w], "probability": float(probability[w]), "change": float(change[w])}
        for w in followed
    ]


def _followed(table: list[tuple[Tensor, Tensor]], unit: int) -> list[int]:
    """Return a unit's words among the top 3 at some strength, in the order in which they rise."""
    top = [p[unit].topk(min(TOP, p.shape[-1])).indices.tolist() for p, _ in table]
    return list(dict.fromkeys(word for row in top for word in row))


def _check_units(index: Tensor, n_units: int) -> None:
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < n_units:
        odd = [unit for unit in index.tolist() if not 0 <= unit < n_units]
        raise ValueError(
            f"units {odd} do not exist; there are {n_units}, numbered 0 to {n_units - 1}."
        )


def onset(strengths: np.ndarray, steerability: np.ndarray, gamma: float) -> np.ndarray:
    """Return [unit]: the smallest strength ≥ 0 where S > gamma; NaN if the grid has none.

    Linear between grid points. strengths [strength] ascending; steerability [unit, strength].
    """
    return _crossing(*_non_negative(strengths, steerability), gamma)


def half_saturation(strengths: np.ndarray, steerability: np.ndarray, at: float) -> np.ndarray:
    """Return [unit]: the smallest strength ≥ 0 where S reaches half of its value at strength `at`.

    Linear between grid points; `at` must be one of the strengths.
    """
    strengths, values = _non_negative(strengths, steerability)
    column = np.flatnonzero(strengths == at)
    if len(column) != 1:
        raise ValueError(f"half_saturation at strength {at}: the grid has {strengths.tolist()}.")
    return _crossing(strengths, values, values[:, column[0]] / 2)


def _non_negative(strengths, steerability) -> tuple[np.ndarray, np.ndarray]:
    strengths = np.asarray(strengths, dtype=np.float64)
    values = np.asarray(steerability, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(strengths) or np.any(np.diff(strengths) <= 0):
        raise ValueError(
            f"steerability is [unit, strength] over ascending strengths; got {values.shape} over "
            f"{strengths.tolist()}."
        )
    return strengths[strengths >= 0], values[:, strengths >= 0]


def _crossing(strengths: np.ndarray, values: np.ndarray, level) -> np.ndarray:
    """Return the first strength at which each row of values exceeds its level, interpolated."""
    if not len(strengths):
        return np.full(len(values), np.nan)
    level = np.broadcast_to(np.asarray(level, dtype=np.float64), len(values))
    above = values > level[:, None]
    first = above.argmax(1)
    rows, before = np.arange(len(values)), np.maximum(first - 1, 0)
    low, high = values[rows, before], values[rows, first]
    share = (level - low) / np.where(first > 0, high - low, 1)
    between = strengths[before] + share * (strengths[first] - strengths[before])
    found = np.where(first > 0, between, strengths[0])
    return np.where(above.any(1), found, np.nan)

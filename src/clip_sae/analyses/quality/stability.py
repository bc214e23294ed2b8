"""Stability over seeds: decoder rows of two SAEs matched by cosine, and means over seeds.

The usual measure of a dictionary's stability (Paulo and Belrose 2025, arXiv 2501.16615; Fel et al.
2025, arXiv 2502.12892): match the latents of two SAEs one to one so that the sum of the cosines of
their decoder rows is highest (Hungarian algorithm), and take the mean.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

# The time of the matching grows with the cube of the number of latents: minutes at this size.
MOST_LATENTS = 16_384
ROWS_AT_ONCE = 4096
_SEED = re.compile(r"seed-\d+")


@dataclass(frozen=True)
class Match:
    """Agreement of two SAEs.

    Attributes:
        matched: mean cosine of latents matched one to one; NaN above MOST_LATENTS.
        nearest: mean of each latent's highest cosine with any of the other SAE, both ways.
        n_matched: pairs, the number of latents of the smaller.
    """

    matched: float
    nearest: float
    n_matched: int


def match_latents(a: np.ndarray, b: np.ndarray) -> Match:
    """Compare two sets of decoder rows [latent, d_model] of any length above zero."""
    if not len(a) or not len(b):
        return Match(float("nan"), float("nan"), 0)
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    n = min(len(a), len(b))
    if max(len(a), len(b)) > MOST_LATENTS:
        matched = float("nan")
    else:
        cosine = a @ b.T
        matched = float(cosine[linear_sum_assignment(cosine, maximize=True)].mean())
    nearest = 0.5 * (_nearest(a, b) + _nearest(b, a))
    return Match(matched, nearest, n)


def _nearest(a: np.ndarray, b: np.ndarray) -> float:
    highest = [
        (a[start : start + ROWS_AT_ONCE] @ b.T).max(1) for start in range(0, len(a), ROWS_AT_ONCE)
    ]
    return float(np.concatenate(highest).mean())


def random_match(n_a: int, n_b: int, d_model: int, seed: int = 0) -> Match:
    """Return the match of directions drawn at random: the floor at these sizes."""
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=(n, d_model)).astype(np.float32) for n in (n_a, n_b))
    return match_latents(a, b)


def seed_groups(variants: Iterable[str]) -> dict[str, list[str]]:
    """Return {name without the seed: variants of a recipe that differ in the seed alone}."""
    found: dict[str, list[str]] = {}
    for variant in variants:
        parts = [part for part in variant.split("_") if not _SEED.fullmatch(part)]
        found.setdefault("_".join(parts) or "base", []).append(variant)
    return found


def seed_stability(
    decoders: Mapping[str, np.ndarray], groups: Mapping[str, Sequence[str]], seed: int = 0
) -> pd.DataFrame:
    """Return a row per SAE: the agreement of its latents with those of the SAEs of its group.

    Columns: sae, group, n_partners, matched_cosine and nearest_cosine with _low and _high (mean,
    least and greatest over partners), matched_floor (random directions of the same numbers). SAEs
    without a partner have NaN.

    Args:
        decoders: {sae: [alive latent, d_model] decoder rows}.
        groups: {name: SAEs that differ in the seed alone}.
    """
    rows = {name: {"sae": name} for name in decoders}
    for group, members in groups.items():
        found = {name: [] for name in members}
        floors = {name: [] for name in members}
        for i, a in enumerate(members):
            for b in members[i + 1 :]:
                match = match_latents(decoders[a], decoders[b])
                sizes = (len(decoders[a]), len(decoders[b]), decoders[a].shape[1])
                floor = random_match(*sizes, seed=seed) if i == 0 else None
                for name in (a, b):
                    found[name].append(match)
                    if floor is not None:
                        floors[name].append(floor.matched)
        for name, matches in found.items():
            rows[name] |= {"group": group, "n_partners": len(matches)}
            for measure in ("matched", "nearest"):
                values = np.array([getattr(match, measure) for match in matches])
                known = values if len(values) else np.array([np.nan])
                column = f"{measure}_cosine"
                rows[name] |= {
                    column: float(known.mean()),
                    f"{column}_low": float(known.min()),
                    f"{column}_high": float(known.max()),
                }
            rows[name]["matched_floor"] = float(np.mean(floors[name])) if floors[name] else np.nan
    return pd.DataFrame(rows.values())


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per group of a quality table: means over its seeds, least and greatest.

    Columns: recipe, layer, kind, group, n_seeds, n_images, and the means with _low and _high. Rows
    of controls, which belong to no group, stay unchanged.
    """
    about = ["recipe", "layer", "kind", "group"]
    means = [name.removesuffix("_low") for name in table if name.endswith("_low")]
    grouped = table[table["group"].notna()].groupby(about, sort=False)
    columns = {"n_seeds": grouped.size(), "n_images": grouped["n_images"].first()}
    for name in ("n_units", "matched_floor", *(n for n in table if n.startswith("floor_"))):
        columns[name] = grouped[name].mean()
    for name in means:
        columns[name] = grouped[name].mean()
        columns[f"{name}_low"], columns[f"{name}_high"] = grouped[name].min(), grouped[name].max()
    found = pd.DataFrame(columns).reset_index()
    kept = [*about, "n_images", "n_units", "matched_floor"]
    kept += [n for n in table if n.startswith("floor_")]
    kept += [f"{name}{end}" for name in means for end in ("", "_low", "_high")]
    return pd.concat([found, table.loc[table["group"].isna(), kept]], ignore_index=True)

"""From scores of every latent to a row per SAE: means with intervals, floors, seeds that agree."""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from clip_sae.analyses.quality.stability import match_latents, random_match
from clip_sae.metrics import bootstrap_means, percentile_interval

_SEED = re.compile(r"seed-\d+")


def unit_means(scores: pd.DataFrame, *, n_resamples: int, seed: int) -> dict[str, float]:
    """Mean of every column over the units that have it, with _low and _high and n_units.

    `scores`: a row per unit. Units without a score in some column (fewer than two images) count
    nowhere, so that all means are of the same units. 95 % bootstrap over units.
    """
    whole = scores.dropna()
    row: dict[str, float] = {"n_units": len(whole)}
    if whole.empty:
        return row | {f"{name}{end}": np.nan for name in scores for end in ("", "_low", "_high")}
    values = whole.to_numpy(dtype=float)
    draws = bootstrap_means(values, n_resamples, seed)
    for i, name in enumerate(scores.columns):
        row[name] = float(values[:, i].mean())
        row[f"{name}_low"], row[f"{name}_high"] = percentile_interval(draws[:, i])
    return row


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
    """How well each SAE's latents are found again by the SAEs of its group, one row per SAE.

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

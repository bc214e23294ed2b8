"""Synthetic tables of steerability with the columns that the measurements have."""

import numpy as np
import pandas as pd

SIZES = {"latent": 512, "neuron": 64, "neuron_equal_push": 64, "random": 128, "pca": 64,
         "random_sae": 512}  # fmt: skip
# how steerable a kind's units are: share above the bulk
RICH = {"latent": 0.25, "neuron": 0.06, "neuron_equal_push": 0.12, "random": 0.01, "pca": 0.05,
        "random_sae": 0.01}  # fmt: skip
WORDS = ("dragon", "tree", "trees", "helicopter", "aircraft", "rescue", "sand", "desert", "beach",
         "ring", "soil", "shell")  # fmt: skip
STRENGTHS = (-20.0, -5.0, 0.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 150.0)


def units(layers=(0, 1, 2), kinds=("latent", "neuron"), seed=0) -> pd.DataFrame:
    """One row per unit and strength (150 and the limit), as of steerability_units.csv.gz."""
    rng = np.random.default_rng(seed)
    parts = []
    for layer in layers:
        for kind in kinds:
            n = SIZES[kind]
            rich = rng.random(n) < RICH[kind] * (1 + layer) / len(layers)
            s = np.where(rich, rng.beta(0.7, 1.0, n), rng.beta(0.5, 30.0, n))
            for strength, factor in ((150.0, 0.97), (np.inf, 1.0)):
                parts.append(pd.DataFrame({
                    "layer": layer, "kind": kind, "label": kind, "unit": range(n),
                    "strength": strength, "alive": rng.random(n) > 0.1, "steerability": s * factor,
                    "d_f": 0.8 + 0.2 * s + 0.05 * rng.standard_normal(n),
                    "d_f_authors": 0.6 + 0.3 * s + 0.1 * rng.standard_normal(n),
                    "dispersion_own": 0.9 - 0.8 * s + 0.05 * rng.standard_normal(n),
                }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def layer_table(table: pd.DataFrame, betas=(0.05, 0.1, 0.25, 0.5, 0.9)) -> pd.DataFrame:
    """The layer table that belongs to `units`: counts are counted, the rest is made up."""
    rows = []
    for (layer, kind, label, strength), part in table.groupby(
        ["layer", "kind", "label", "strength"]
    ):
        s, n = part.steerability, len(part)
        group = {"layer": layer, "kind": kind, "label": label, "strength": strength,
                 "n_units": n, "n_alive": int(part.alive.sum()),
                 "n_sampled_from": n if kind != "random_sae" else 4 * n,
                 "n_images": 32, "n_words": 287}  # fmt: skip
        found = [("mean_steerability", np.nan, s.mean()),
                 ("mean_steerability_alive", np.nan, s[part.alive].mean()),
                 ("mean_steerability_printed", np.nan, s.mean() + 0.08),
                 ("steerability_floor", np.nan, 0.021), ("mu_v_norm", np.nan, 0.75),
                 ("n_perfect", 0.9, (s >= 0.9).sum()),
                 ("n_steerable", 0.1, (s > 0.1).sum()),
                 ("asymptote_cosine", np.nan, 1.0 if np.isinf(strength) else 0.9 + 0.02 * layer),
                 ("d_f_rank_correlation", np.nan, 0.4), ("concept_coverage_image0", 0.1, 31.0),
                 ("dispersion_own_rank_correlation", np.nan, -0.8)]  # fmt: skip
        for beta in betas:
            found.append(("steerable_fraction", beta, (s > beta).mean()))
            found.append(("concept_coverage", beta, round((s > beta).sum() ** 0.8)))
        for quantity, threshold, value in found:
            ends = {"low": 0.95 * value, "high": 1.06 * value}
            rows.append(
                group | {"quantity": quantity, "threshold": threshold, "value": value} | ends
            )
    return pd.DataFrame(rows)


def rarefaction(layer_rows: pd.DataFrame) -> pd.DataFrame:
    """Expected coverage over the number of units, of every layer and kind at s = 150."""
    at = layer_rows[(layer_rows.strength == 150) & (layer_rows.quantity == "concept_coverage")]
    parts = []
    for _, row in at[at.threshold == 0.1].iterrows():
        n = np.unique(np.geomspace(1, row.n_units, 20).astype(int))
        words = row.value * (n / row.n_units) ** 0.7
        parts.append(pd.DataFrame({"kind": row.kind, "label": row.label, "layer": row.layer,
                                   "n_units": n, "expected_coverage": words, "low": 0.9 * words,
                                   "high": 1.1 * words}))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def traces(roles=("perfect", "tight", "diffuse"), n_words=5) -> pd.DataFrame:
    """Traces of one latent per role, words of each role its own; S rises to 0.97 at most."""
    final = {"perfect": 0.97, "tight": 0.4, "diffuse": 0.35, "named": 0.6}
    rows = []
    for number, role in enumerate(roles):
        words = WORDS[3 * number : 3 * number + n_words]
        for strength in STRENGTHS:
            rise = 1 / (1 + np.exp(-(strength - 40 - 10 * number) / 12))
            for scope, shift in (("image0", 0.02), ("mean", 0.0)):
                for rank, word in enumerate(words):
                    p = max(0.0, final[role] * rise * 0.5**rank + 0.01 - shift * 0.1)
                    rows.append({
                        "layer": 5, "unit": 100 + number, "role": role, "strength": strength,
                        "scope": scope, "word": word, "probability": p, "change": p - 0.01,
                        "delta_p": final[role] * rise, "steerability": (final[role] * rise) ** 2,
                        "onset": 30.0, "half_saturation": 48.0 + 10 * number, "n_images": 32,
                    })  # fmt: skip
    return pd.DataFrame(rows)

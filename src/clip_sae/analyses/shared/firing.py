"""Firing of latents: rates, dead and dense latents, and their histogram.

Steering paper App. 10 ("dead features that rarely activate"); the histogram is the usual check.
"""

import numpy as np
import pandas as pd

# ASSUME: a latent above one token in ten is dense; the paper names no threshold.
DENSE_RATE = 0.1


def firing_rates(
    fired: np.ndarray, n_tokens: int, *, dense_rate: float = DENSE_RATE
) -> pd.DataFrame:
    """Return a row per latent from its firing counts `[latent]` over `n_tokens` tokens.

    Columns: latent_idx, n_fired, firing_rate (0…1), status ("dead" = never on these tokens,
    "dense" = rate above `dense_rate`, "alive" otherwise).
    """
    fired = np.asarray(fired)
    if n_tokens < 1 or fired.min(initial=0) < 0 or fired.max(initial=0) > n_tokens:
        raise ValueError(
            f"firing counts from {fired.min(initial=0)} to {fired.max(initial=0)} do not fit "
            f"{n_tokens} tokens; pass LatentActivity.fired(tokens) as it is"
        )
    rate = fired / n_tokens
    status = np.where(fired == 0, "dead", np.where(rate > dense_rate, "dense", "alive"))
    return pd.DataFrame(
        {
            "latent_idx": np.arange(len(fired)),
            "n_fired": fired,
            "firing_rate": rate,
            "status": status,
        }
    )


def firing_summary(
    fired: np.ndarray, n_tokens: int, *, dense_rate: float = DENSE_RATE
) -> dict[str, int]:
    """Return d_sae, n_tokens, dead_latents, alive_latents (fire at all), dense_latents."""
    status = firing_rates(fired, n_tokens, dense_rate=dense_rate).status
    dead = int((status == "dead").sum())
    return {
        "d_sae": len(status),
        "n_tokens": int(n_tokens),
        "dead_latents": dead,
        "alive_latents": len(status) - dead,
        "dense_latents": int((status == "dense").sum()),
    }


def firing_histogram(
    fired: np.ndarray,
    n_tokens: int,
    *,
    layer: int,
    recipe: str,
    n_bins: int = 50,
    dense_rate: float = DENSE_RATE,
) -> pd.DataFrame:
    """Return alive latents by log10 firing rate, from one in `n_tokens` (first bin) to 0 (always).

    Columns: layer, recipe, log10_rate_low, log10_rate_high, n_latents, then the counts of
    `firing_summary`, repeated on each row so that the table needs no other.
    """
    rates = firing_rates(fired, n_tokens).firing_rate.to_numpy()
    edges = np.linspace(min(-np.log10(n_tokens), -1.0), 0.0, n_bins + 1)
    # Rounding may put log10(1 / n_tokens) slightly below the first edge.
    logs = np.clip(np.log10(rates[rates > 0]), edges[0], 0.0)
    counts, _ = np.histogram(logs, edges)
    table = pd.DataFrame(
        {
            "layer": layer,
            "recipe": recipe,
            "log10_rate_low": edges[:-1],
            "log10_rate_high": edges[1:],
            "n_latents": counts,
        }
    )
    return table.assign(**firing_summary(fired, n_tokens, dense_rate=dense_rate))

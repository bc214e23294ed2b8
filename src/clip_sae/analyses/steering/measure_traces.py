"""A few latents at every strength, with their words: the named ones, or one of each sort."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.steering.steered import SteeredLayer
from clip_sae.analyses.steering.tables import TABLES, strength_name
from clip_sae.analyses.steering.traces import choose_units, trace_units
from clip_sae.files import csv_text


def measure_traces(
    job,
    *,
    files: Mapping,
    measured: Path | None,
    named: Sequence[int] | None,
    images: int,
    sampling: str,
    error: str,
    strength: float,
    strengths: Sequence[float],
    gamma: float,
    seed: int,
) -> str:
    """Return the rows of `trace_units`, with the layer in front, as CSV.

    Args:
        files: as for `SteeredLayer`.
        measured: folder of the layer's latents, to choose from; None where latents are named.
        named: the latents to follow; None to choose them.
        strength, gamma: what half-saturation and onset refer to.
    """
    level = {"strength": strength, "gamma": gamma}
    if named is None:
        rows = pd.read_csv(measured / TABLES["units"], dtype={"strength": str})
        chosen = choose_units(rows, strength=strength_name(strength), gamma=gamma)
    else:
        chosen = [(unit, "named") for unit in named]
    layer = SteeredLayer(job, files, images=images, sampling=sampling, error=error, seed=seed)
    units = layer.units("latent")
    routes = layer.routes(units, job.batch("sequences_per_batch"))
    table = trace_units(units, routes, layer.vocabulary.words, chosen, strengths, **level)
    table.insert(0, "layer", layer.layer)
    job.facts["latents"] = len(chosen)
    return csv_text(table, digits=7)

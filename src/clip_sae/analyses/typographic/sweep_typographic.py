"""Gaps of units on training pairs, and every τ and λ on attacked validation images.

Steering paper §7.2.1 ("a sweep over the λ and τ values on the validation set"). The benchmarks are
never read here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.shared.edited_embeddings import over_chain
from clip_sae.analyses.shared.edits import reaches_output
from clip_sae.analyses.shared.models import class_names, load_model, prompts
from clip_sae.analyses.shared.names import NEURONS
from clip_sae.analyses.shared.pairs import PairedImages, pairs_of
from clip_sae.analyses.shared.responses import measure_responses, unit_file, units_of
from clip_sae.analyses.shared.units import Units
from clip_sae.analyses.typographic.candidates import (
    Candidate,
    candidates,
    nearest_cosines,
    tau_grid,
)
from clip_sae.clip.model import ClipModel
from clip_sae.clip.zeroshot import class_embeddings
from clip_sae.files import write_output
from clip_sae.npz import write_arrays
from clip_sae.planning.inputs import ClipFiles, SaeFiles


def sweep_typographic(
    job,
    *,
    clip: ClipFiles,
    index: Path,
    stores: Mapping[str, Path],
    saes: Sequence[SaeFiles],
    layer: int,
    thresholds: Mapping,
    cosines: Sequence[float],
    template: str | Sequence[str],
) -> None:
    """Write sweep.csv, and responses and nearest cosines of the units of each label.

    Args:
        index: of the attacked copy; stores: its residuals, {"train", "val"}.
        saes: all variants of a recipe; none for neurons.
        thresholds: {"low", "high", "n"} of tau; cosines: the values of lambda.

    Columns of sweep.csv: kind ("latents" or "neurons"), label, and those of `sweep_table`.
    """
    model = load_model(job, clip)
    tokens = reaches_output(model, layer)
    train, validation = (
        pairs_of(index, stores[split], split, tokens) for split in ("train", "val")
    )
    text = class_embeddings(model, class_names(index), prompts(template))
    taus = tau_grid(thresholds["low"], thresholds["high"], thresholds["n"])
    # A coordinate is orthogonal to all others, so that no cosine can join one.
    lams = cosines if saes else [max(cosines)]
    tables = []
    for label in [sae.label for sae in saes] or [NEURONS]:
        units, directions = units_of(label, saes, model)
        responses = measure_responses(units, train.clean, train.attacked, device=model.device)
        responses.save(unit_file(job.folder, "responses", label))
        nearest = nearest_cosines(responses.gap, directions, taus)
        write_arrays(unit_file(job.folder, "cosines", label), {"taus": taus, "nearest": nearest})
        chains = candidates(responses.gap, directions, taus, lams)
        table = sweep_table(model, validation, layer, units, chains, text)
        tables.append(table.assign(kind="latents" if saes else NEURONS, label=label))
        job.log.info("%s: largest gap %.3g", label, responses.gap.max())
    sweep = pd.concat(tables, ignore_index=True)
    sweep = sweep[["kind", "label", *sweep.columns.drop(["kind", "label"])]]
    job.facts |= write_output(job.folder / "sweep.csv", sweep)


def sweep_table(
    model: ClipModel,
    pairs: PairedImages,
    layer: int,
    units: Units,
    chains: Sequence[Sequence[Candidate]],
    text: Tensor,
) -> pd.DataFrame:
    """Return one row per (λ, τ), and a first one for the empty set (τ = ∞).

    Args:
        text: unit class embeddings [class, d_embed].

    Columns: tau, lambda, n_selected (gap > τ), n_units (with the closure), n_images,
    attacked_accuracy, text_confusion, clean_accuracy.
    """
    text = text.to(model.device)

    def predict(embedding: Tensor) -> Tensor:
        return (embedding @ text.T).argmax(-1)

    rows = []
    for number, chain in enumerate(chains):
        none = Candidate(float("inf"), chain[0].lam, np.zeros(0, dtype=np.int64), 0)
        whole = [none, *chain]
        sets = [candidate.units for candidate in whole]
        attacked = over_chain(model, pairs.attacked, layer, units, sets, predict)
        clean = over_chain(model, pairs.clean, layer, units, sets, predict)
        for candidate, on_attacked, on_clean in zip(whole, attacked, clean, strict=True):
            if candidate is none and number:
                continue  # the empty set is the same for every λ
            rows.append(
                {
                    "tau": candidate.tau,
                    "lambda": candidate.lam,
                    "n_selected": candidate.n_selected,
                    "n_units": len(candidate.units),
                    "n_images": len(pairs.label),
                    "attacked_accuracy": _share(on_attacked == pairs.label),
                    "text_confusion": _share(on_attacked == pairs.word),
                    "clean_accuracy": _share(on_clean == pairs.label),
                }
            )
    return pd.DataFrame(rows)


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())

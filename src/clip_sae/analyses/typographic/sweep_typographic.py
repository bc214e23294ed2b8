"""Of one kind of unit: its gaps on training pairs, and every tau and lambda on validation pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.shared.edits import reaches_output
from clip_sae.analyses.shared.models import class_names, load_model, prompts
from clip_sae.analyses.shared.names import NEURONS
from clip_sae.analyses.shared.pairs import pairs_of
from clip_sae.analyses.shared.responses import measure_responses
from clip_sae.analyses.shared.unit_files import unit_file, units_of
from clip_sae.analyses.typographic.candidates import candidates, nearest_cosines, tau_grid
from clip_sae.analyses.typographic.sweep import sweep_table
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

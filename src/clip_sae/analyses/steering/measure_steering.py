"""Steer every unit of one kind at one layer, or a part of them: tables of units, layer and grid."""

from collections.abc import Mapping, Sequence

from clip_sae.analyses.shared.blocks import Blocks
from clip_sae.analyses.steering.layer import Settings, measure_layer, measure_part, n_blocks
from clip_sae.analyses.steering.steered import SteeredLayer
from clip_sae.analyses.steering.summary import Thresholds
from clip_sae.analyses.steering.tables import TABLES
from clip_sae.files import csv_text, write_output
from clip_sae.planning.scatter import share


def measure_steering(
    job,
    *,
    files: Mapping,
    kind: str,
    n_units: int | None,
    grid_units: int | None,
    images: int,
    sampling: str,
    error: str,
    strength: float,
    strengths: Sequence[float],
    gamma: float,
    beta: Sequence[float],
    resamples: int,
    seed: int,
) -> None:
    """Write the tables of `measure_layer`, with the units' layer, kind and label, into the folder.

    Args:
        files: as for `SteeredLayer`; n_units: the most units; None is all of them.
        the others: as for `Settings` and `Thresholds`.
    """
    layer = SteeredLayer(job, files, images=images, sampling=sampling, error=error, seed=seed)
    units = layer.units(kind, n_units)
    words = layer.vocabulary.words
    job.log.info(
        "%d units of layer %d on %d images over %d words",
        *(len(units), layer.layer, len(layer.x), len(words)),
    )
    settings = Settings(
        strength=strength,
        strengths=tuple(strengths),
        thresholds=Thresholds(gamma, tuple(beta)),
        grid_units=grid_units,
        resamples=resamples,
        seed=seed,
    )
    blocks = Blocks(job.folder / "blocks", job.identity())
    steered = (units, layer.routes(units, job.batch("sequences_per_batch")), words, settings)
    batch = {"units_per_batch": job.batch("units_per_batch")}
    if job.part:
        mine = share(n_blocks(len(units)), job.part)
        measure_part(*steered, blocks, mine, **batch)
        job.facts["blocks"] = len(mine)
        return
    tables = measure_layer(*steered, blocks=blocks, **batch)
    what = {"label": layer.label_of(kind), "kind": kind, "layer": layer.layer}
    for name, file in TABLES.items():
        table = getattr(tables, name)
        for column, value in what.items():
            table.insert(0, column, value)
        write_output(job.folder / file, csv_text(table, digits=7))
    job.facts |= {"units": len(units), "logit_scale": layer.vocabulary.logit_scale}
    job.discard_later(blocks.folder)

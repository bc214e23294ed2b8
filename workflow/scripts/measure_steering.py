"""Steer every unit of one kind at one layer: tables of the units, the layer and the grid."""

from pathlib import Path

from _job import Job
from _steering import SteeredLayer

from clip_sae.analyses.steering.layer import Settings, measure_layer
from clip_sae.analyses.steering.summary import Thresholds
from clip_sae.analyses.steering.tables import TABLES, write_table

job = Job(snakemake)
arguments, resources = job.arguments, snakemake.resources
layer = SteeredLayer(job)
units = layer.units(arguments["kind"], arguments["n_units"])
job.log.info(
    "%d units of layer %d on %d images over %d words",
    *(len(units), arguments["layer"], len(layer.x), len(layer.vocabulary.words)),
)
tables = measure_layer(
    units,
    layer.routes(units, resources.sequences_per_batch),
    layer.vocabulary.words,
    Settings(
        strength=arguments["strength"],
        strengths=tuple(arguments["strengths"]),
        thresholds=Thresholds(arguments["gamma"], tuple(arguments["beta"])),
        grid_units=arguments["grid_units"],
        resamples=arguments["resamples"],
        seed=arguments["seed"],
    ),
    units_per_batch=resources.units_per_batch,
)
path = Path(snakemake.output[0])
for name, file in TABLES.items():
    table = getattr(tables, name)
    for column in ("label", "kind", "layer"):
        table.insert(0, column, arguments[column])
    write_table(path.parent / file, table)
job.publish(str(path), units=len(units), logit_scale=layer.vocabulary.logit_scale)

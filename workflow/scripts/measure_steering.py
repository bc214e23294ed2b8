"""Steer every unit of one kind at one layer, or a part of them: tables of units, layer and grid."""

from pathlib import Path

from _job import Job
from _steering import SteeredLayer

from clip_sae.analyses.blocks import Blocks
from clip_sae.analyses.steering.layer import Settings, measure_layer, measure_part, n_blocks
from clip_sae.analyses.steering.summary import Thresholds
from clip_sae.analyses.steering.tables import TABLES, write_table
from clip_sae.scatter import share

job = Job(snakemake)
arguments = job.arguments
layer = SteeredLayer(job)
units = layer.units(arguments["kind"], arguments["n_units"])
job.log.info(
    "%d units of layer %d on %d images over %d words",
    *(len(units), arguments["layer"], len(layer.x), len(layer.vocabulary.words)),
)
settings = Settings(
    strength=arguments["strength"],
    strengths=tuple(arguments["strengths"]),
    thresholds=Thresholds(arguments["gamma"], tuple(arguments["beta"])),
    grid_units=arguments["grid_units"],
    resamples=arguments["resamples"],
    seed=arguments["seed"],
)
folder, path = Path(arguments["folder"]), snakemake.output[0]
blocks = Blocks(folder / "blocks", job.identity())
steered = (units, layer.routes(units, job.batch("sequences_per_batch")), layer.vocabulary.words)
batch = {"units_per_batch": job.batch("units_per_batch")}
if "part" in arguments:
    mine = share(n_blocks(len(units)), arguments["part"])
    measure_part(*steered, settings, blocks, mine, **batch)
    job.publish(path, blocks=len(mine))
else:
    tables = measure_layer(*steered, settings, blocks=blocks, **batch)
    for name, file in TABLES.items():
        table = getattr(tables, name)
        for column in ("label", "kind", "layer"):
            table.insert(0, column, arguments[column])
        write_table(folder / file, table)
    job.publish(path, units=len(units), logit_scale=layer.vocabulary.logit_scale)
    blocks.clear()

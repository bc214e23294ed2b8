"""A few latents at every strength, with their words: the named ones, or one of each sort."""

from pathlib import Path

import pandas as pd
from _job import Job
from _steering import SteeredLayer

from clip_sae.analyses.steering.layer import strength_name
from clip_sae.analyses.steering.tables import TABLES, write_table
from clip_sae.analyses.steering.traces import choose_units, trace_units

job = Job(snakemake)
arguments = job.arguments
level = {"strength": arguments["strength"], "gamma": arguments["gamma"]}
if arguments["units"] is None:
    rows = pd.read_csv(Path(arguments["measured"]) / TABLES["units"], dtype={"strength": str})
    chosen = choose_units(rows, **level | {"strength": strength_name(arguments["strength"])})
else:
    chosen = [(unit, "named") for unit in arguments["units"]]
layer = SteeredLayer(job)
units = layer.units("latent")
table = trace_units(
    units,
    layer.routes(units, job.batch("sequences_per_batch")),
    layer.vocabulary.words,
    chosen,
    arguments["strengths"],
    **level,
)
table.insert(0, "layer", arguments["layer"])
write_table(Path(snakemake.output[0]), table)
job.publish(snakemake.output[0], latents=len(chosen))

"""Put the tables of all layers and kinds of unit together, one table each."""

from pathlib import Path

from _job import Job

from clip_sae.analyses.steering.tables import TABLES, gather_tables

job = Job(snakemake)
for name, path in job.arguments["tables"].items():
    parts = [Path(folder) / TABLES[name] for folder in job.arguments["folders"]]
    job.publish(path, rows=gather_tables(parts, Path(path)))

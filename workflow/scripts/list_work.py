"""Write down the work that a config asks for."""

from pathlib import Path

from _job import Job

from clip_sae.specs import write_json

job = Job(snakemake)
write_json(Path(snakemake.output[0]), job.arguments)

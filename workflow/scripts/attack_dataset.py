"""Make the attacked copy of a data set: each image as it is, and with another class's name."""

from pathlib import Path

from _job import Job

from clip_sae.attacked_pairs import write_pairs
from clip_sae.datasets import read_classes, read_manifest

job = Job(snakemake)
arguments, attack = job.arguments, job.arguments["attack"]
index = Path(arguments["index"])
n = write_pairs(
    Path(arguments["root"]),
    read_manifest(index),
    read_classes(index),
    Path(arguments["data_root"]),
    splits=attack["splits"],
    seed=attack["seed"],
    font_size=tuple(attack["font_size"]),
    decoding=arguments["decoding"],
    workers=job.threads,
)
job.log.info("%d pairs", n)
job.publish(snakemake.output[0])

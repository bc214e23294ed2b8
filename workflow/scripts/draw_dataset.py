"""Draw one set of the demo world in the layout of the real set that it stands for."""

from pathlib import Path

from _job import Job

from clip_sae.demo import sets

WRITERS = {
    "general": sets.write_general,
    "negative": sets.write_negative,
    "typographic": sets.write_typographic,
    "waterbirds": sets.write_waterbirds,
    "celeba": sets.write_celeba,
}

job = Job(snakemake)
draw = job.arguments["draw"]
WRITERS[draw["world"]](
    Path(snakemake.output[0]).parent,
    seed=draw["seed"],
    n_train=draw["n_train"],
    n_val=draw["n_val"],
    n_test=draw["n_test"],
    workers=job.threads,
)
job.publish(snakemake.output[0])

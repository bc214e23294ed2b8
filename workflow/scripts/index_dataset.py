"""List a data set: one manifest, its classes, and a fingerprint of its content."""

from pathlib import Path

from _job import Job

from clip_sae.datasets import index_dataset, write_index

job = Job(snakemake)
block = job.arguments["dataset"]
index = index_dataset(
    block["kind"],
    Path(job.arguments["root"]),
    options={**block["options"], "fingerprint": block["fingerprint"]},
    on_bad_image=block["on_bad_image"],
    max_pixels=block["max_pixels"],
    workers=job.threads,
)
write_index(index, Path(snakemake.output.complete).parent)
job.log.info(
    "%d images, %d classes, %d skipped",
    *(index.summary[k] for k in ("n_images", "n_classes", "n_skipped")),
)
source = job.record(snakemake.output.complete)["spec"]["name"]
job.publish(
    snakemake.output.complete,
    fingerprints={f"dataset:{source}": index.fingerprint},
    summary=index.summary,
)

"""List a data set: one manifest, its classes, and a fingerprint of its content."""

from pathlib import Path

from _job import Job

from clip_sae.augment_config import operations_of
from clip_sae.datasets import (
    augment_index,
    index_dataset,
    operation_list,
    read_index,
    write_index,
)

job = Job(snakemake)
block = job.arguments["dataset"]
augment = block["augment"]
if augment is None:
    index = index_dataset(
        block["kind"],
        Path(job.arguments["root"]),
        options={**block["options"], "fingerprint": block["fingerprint"]},
        on_bad_image=block["on_bad_image"],
        max_pixels=block["max_pixels"],
        workers=job.threads,
    )
else:
    photographs = read_index(Path(job.arguments["photographs"]))
    operations = operation_list(operations_of(augment))
    index = augment_index(photographs, operations, augment["splits"])
write_index(index, Path(snakemake.output.complete).parent)
job.log.info(
    "%d images, %d classes, %d skipped",
    *(index.summary[k] for k in ("n_images", "n_classes", "n_skipped")),
)
if linked := index.summary.get("n_linked_outside"):
    job.log.info(
        "%d images lie outside %s, behind symbolic links: %s",
        *(linked, job.arguments["root"], ", ".join(index.summary["linked_outside"])),
    )
source = job.record(snakemake.output.complete)["spec"]["name"]
job.publish(
    snakemake.output.complete,
    # of an attacked copy and of an augmented set also that of the set it is made from
    fingerprints=job.fingerprints() | {f"dataset:{source}": index.fingerprint},
    summary=index.summary,
)

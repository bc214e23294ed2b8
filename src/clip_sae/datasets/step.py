"""Make and list data sets: drawn worlds, attacked copies, manifests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from clip_sae.datasets import (
    augment_index,
    index_dataset,
    operation_list,
    read_classes,
    read_index,
    read_manifest,
    write_index,
)
from clip_sae.datasets.attack.copies import write_pairs
from clip_sae.planning.augment_config import operations_of
from clip_sae.planning.inputs import ImageFiles
from clip_sae.planning.sources import PAIRS
from clip_sae_demo import sets

WRITERS = {
    "general": sets.write_general,
    "negative": sets.write_negative,
    "typographic": sets.write_typographic,
    "waterbirds": sets.write_waterbirds,
    "celeba": sets.write_celeba,
}


def draw_world(job, *, world: str, seed: int, n_train: int, n_val: int, n_test: int) -> None:
    """Draw one set of the demo world in the layout of the real set that it stands for."""
    counts = {"n_train": n_train, "n_val": n_val, "n_test": n_test}
    WRITERS[world](job.folder, seed=seed, **counts, workers=job.threads)


def attack_images(
    job, *, images: ImageFiles, splits: Mapping, seed: int, font_size: Sequence[float]
) -> None:
    """Make the attacked copy of a data set: each image as it is, and with another class's name."""
    n = write_pairs(
        job.folder / PAIRS,
        read_manifest(images.index),
        read_classes(images.index),
        images.root,
        splits=splits,
        seed=seed,
        font_size=tuple(font_size),
        decoding=images.decoding,
        workers=job.threads,
    )
    job.log.info("%d pairs", n)


def index_images(
    job,
    *,
    name: str,
    kind: str,
    on_bad_image: str,
    max_pixels: int,
    fingerprint: str,
    options: Mapping,
    root: Path | None = None,
    augment: Mapping | None = None,
    photographs: Path | None = None,
) -> None:
    """List a data set: one manifest, its classes, and a fingerprint of its content."""
    if augment is None:
        index = index_dataset(
            kind,
            root,
            options={**options, "fingerprint": fingerprint},
            on_bad_image=on_bad_image,
            max_pixels=max_pixels,
            workers=job.threads,
        )
    else:
        operations = operation_list(operations_of(augment))
        index = augment_index(read_index(photographs), operations, augment["splits"])
    write_index(index, job.folder)
    job.log.info(
        "%d images, %d classes, %d skipped",
        *(index.summary[k] for k in ("n_images", "n_classes", "n_skipped")),
    )
    if linked := index.summary.get("n_linked_outside"):
        job.log.info(
            "%d images lie outside %s, behind symbolic links: %s",
            *(linked, root, ", ".join(index.summary["linked_outside"])),
        )
    # an attacked copy and an augmented set also record that of the set they are made from
    job.own_fingerprints[f"dataset:{name}"] = index.fingerprint
    job.facts["summary"] = index.summary

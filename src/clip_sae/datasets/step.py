"""Make and list data sets: attacked copies and manifests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from clip_sae.datasets.attack.copies import write_pairs
from clip_sae.datasets.index import index_dataset
from clip_sae.datasets.kinds.attacked_pairs import PAIRS
from clip_sae.datasets.manifest import read_classes, read_manifest, write_index
from clip_sae.planning.inputs import ImageFiles
from clip_sae.planning.kinds import makers


def attack_images(
    job, *, images: ImageFiles, splits: Mapping, seed: int, font_size: Sequence[float]
) -> None:
    """Make the attacked copy of a data set: each image clean and with another class's name."""
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
    **made: object,
) -> None:
    """List a data set: one manifest, its classes, and a fingerprint of its content.

    Args:
        root: folder of the data; None for a set that its maker lists.
        made: the section of that maker, by its name, and what its `listed_from` reads.
    """
    if root is None:
        [section] = made.keys() & makers().keys()
        reads = {key: value for key, value in made.items() if key != section}
        index = makers()[section].index(made[section], **reads)
    else:
        index = index_dataset(
            kind,
            root,
            options={**options, "fingerprint": fingerprint},
            on_bad_image=on_bad_image,
            max_pixels=max_pixels,
            workers=job.threads,
        )
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
    # an attacked copy and an augmented set also record the fingerprint of their source
    job.own_fingerprints[f"dataset:{name}"] = index.fingerprint
    job.facts["summary"] = index.summary

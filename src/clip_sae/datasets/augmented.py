"""Augmented sets: a manifest whose rows are the images of another set, each with an operation.

Steering paper App. 10 (the SAE that was trained on augmented Waterbirds, Tables 7 and 8). Labels,
attributes and paths are those of the source; the operations are those of `augment`.
"""

from collections.abc import Sequence

import pandas as pd

from clip_sae.datasets.augment import NO_OPERATION
from clip_sae.datasets.listing import DatasetError, some
from clip_sae.datasets.manifest import DatasetIndex, arrange, fingerprint_of

KIND = "augmented"


def augment_index(
    source: DatasetIndex, operations: Sequence[tuple[str, str]], splits: Sequence[str]
) -> DatasetIndex:
    """Return the index of the augmented set: every image as it is, and once per operation.

    Args:
        source: as `read_index` gives it. Its skipped images stay skipped, with one row each.
        operations: (operation, parameter), as of `operation_list`.
        splits: those of the source that the set has.

    Raises DatasetError for a split that the source lacks, or a source that is augmented itself.
    """
    manifest = source.manifest[source.manifest["split"].isin(splits)]
    absent = sorted(set(splits) - set(manifest["split"]))
    if absent:
        found = ", ".join(sorted(set(source.manifest["split"]))) or "none"
        raise DatasetError(f"the source has no images of {some(absent)}; splits found: {found}.")
    if (manifest["operation"] != NO_OPERATION).any():
        raise DatasetError(
            "the source is an augmented set itself, and an image takes one operation. Name the "
            "set of photographs under `of`."
        )
    usable = manifest[manifest["status"] == "ok"]
    edited = [usable.assign(operation=name, parameter=value) for name, value in operations]
    rows = arrange(pd.concat([manifest, *edited], ignore_index=True))
    skipped = rows[rows["status"] == "skipped"]
    counts = rows["split"].value_counts(sort=False)
    summary = {
        **source.summary,
        "kind": KIND,
        "kind_of_source": source.summary["kind"],
        "operations": [" ".join(operation) for operation in operations],
        "n_images": len(rows),
        "n_skipped": len(skipped),
        "splits": {split: int(n) for split, n in counts.items()},
        "skipped": [f"{row.path}: {row.reason}" for row in skipped.head(50).itertuples()],
    }
    fingerprint = fingerprint_of(rows, source.classes, [source.fingerprint])
    return DatasetIndex(rows, source.classes, fingerprint, summary)

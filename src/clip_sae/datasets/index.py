"""Index a folder of any kind: list its images, check the counts, read every image.

Serves every data set of the paper and the demo; the layouts are in `datasets.kinds`.
"""

from collections import Counter
from pathlib import Path

import pandas as pd

from clip_sae.datasets.class_names import user_names
from clip_sae.datasets.counts import check_counts
from clip_sae.datasets.images import MAX_PIXELS
from clip_sae.datasets.inside import linked_outside
from clip_sae.datasets.listing import DatasetError, Listing, some, wanted_splits
from clip_sae.datasets.manifest import DatasetIndex, arrange, fingerprint_of
from clip_sae.datasets.scan import FileFacts, scan_files
from clip_sae.planning.kinds import kinds, option_mistakes


def index_dataset(
    kind: str,
    root: Path,
    *,
    options: dict | None = None,
    on_bad_image: str = "error",
    max_pixels: int = MAX_PIXELS,
    workers: int = 1,
    progress: bool = True,
) -> DatasetIndex:
    """Return manifest, classes, fingerprint and summary of the set of a kind in the folder `root`.

    Args:
        options: `COMMON_OPTIONS`, the kind's own, and `fingerprint` ("size", or "content": sha256
            of every file).
        on_bad_image: "error" names all bad images; "skip" keeps them as rows with status "skipped".

    Raises DatasetError for a set that does not match its kind, counts or options.
    """
    root, options = Path(root), dict(options or {})
    _check_arguments(kind, root, options)
    content = options.pop("fingerprint", "size") == "content"
    listing = kinds()[kind].load(root, options)
    checked = check_counts(listing, root, options)
    manifest, classes = _tables(listing, root, options)
    files = scan_files(
        root,
        manifest["path"].tolist(),
        check=options.get("check", "decode") == "decode",
        content=content,
        max_pixels=max_pixels,
        workers=workers,
        progress=progress,
    )
    reasons = pd.Series([fact.reason for fact in files], dtype=object)
    if on_bad_image == "error":
        _refuse_bad_images(root, manifest["path"], reasons)
    manifest["status"] = reasons.map(lambda reason: "skipped" if reason else "ok")
    manifest["reason"] = reasons
    fingerprint = fingerprint_of(manifest, classes, [f"{f.size} {f.content}" for f in files])
    linked = linked_outside(root, manifest["path"].tolist())
    summary = {"kind": kind, "counts_checked": checked, **_facts(listing, files)}
    summary |= {"n_linked_outside": len(linked), "linked_outside": linked[:5]}
    summary.update(counts_of(manifest, classes))
    return DatasetIndex(manifest, classes, fingerprint, summary)


def _check_arguments(kind: str, root: Path, options: dict) -> None:
    if kind not in kinds():
        raise DatasetError(f"kind is {kind!r}; it must be one of {', '.join(kinds())}.")
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
    if mistakes := [*option_mistakes(kind, plain)]:
        raise DatasetError("\n".join(mistakes))
    if not root.is_dir():
        raise DatasetError(
            f"{root} is not a folder. Put the {kind} data set there, or change `root` of the data "
            f"set in the config."
        )


def _tables(listing: Listing, root: Path, options: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = listing.names
    if options.get("class_names") is not None:
        names = user_names(listing.labels, options["class_names"])
        listing.names_from = "class_names"
    index_of = {label: i for i, label in enumerate(listing.labels)}
    wanted = wanted_splits(options)
    rows = listing.rows[listing.rows["split"].isin(wanted)]
    absent = set(options.get("splits") or ()) - set(rows["split"])
    if absent or rows.empty:
        found = ", ".join(sorted(set(listing.rows["split"]))) or "none"
        raise DatasetError(
            f"{root} has no images of {some(sorted(absent))}; splits found: {found}."
        )
    manifest = arrange(rows.assign(label_idx=rows["label"].map(index_of).astype("int64")))
    classes = pd.DataFrame(
        {
            "label_idx": range(len(listing.labels)),
            "label": listing.labels,
            "name": [names[label] for label in listing.labels],
        }
    )
    return manifest, classes


def _refuse_bad_images(root: Path, paths: pd.Series, reasons: pd.Series) -> None:
    bad = [f"{paths[i]}: {reason}" for i, reason in reasons.items() if reason]
    if bad:
        shown = "\n  ".join(bad[:20]) + (f"\n  … ({len(bad)} in all)" if len(bad) > 20 else "")
        raise DatasetError(
            f"{len(bad)} of the {len(paths)} images in {root} cannot be used:\n  {shown}\n"
            f"Replace them, or set `on_bad_image: skip` for the data set in config.yaml."
        )


def _facts(listing: Listing, files: list[FileFacts]) -> dict:
    images = [fact.image for fact in files if fact.image is not None]
    return {
        "names_from": listing.names_from,
        "n_bytes": sum(fact.size for fact in files),
        "pixel_modes": dict(sorted(Counter(image.mode for image in images).items())),
        "n_exif_rotated": sum(image.orientation != 1 for image in images),
        "n_wrong_extension": sum(image.mislabelled for image in images),
        "n_ignored": len(listing.ignored),
        "ignored": sorted(listing.ignored)[:20],
    }


def counts_of(manifest: pd.DataFrame, classes: pd.DataFrame) -> dict:
    """Return the part of a summary that counts images, classes, splits and skipped images."""
    skipped = manifest[manifest["status"] == "skipped"]
    names = classes["name"]
    return {
        "n_images": len(manifest),
        "n_classes": len(classes),
        "n_skipped": len(skipped),
        "splits": {
            split: int(n) for split, n in manifest["split"].value_counts(sort=False).items()
        },
        "skipped": [f"{row.path}: {row.reason}" for row in skipped.head(50).itertuples()],
        "repeated_names": sorted(set(names[names.duplicated()])),
    }

"""Check that the set on disk has the published counts, or the user's own."""

from pathlib import Path

import pandas as pd

from clip_sae.datasets.class_names import are_wnids, imagenet_wnids
from clip_sae.datasets.listing import DatasetError, Listing, some, wanted_splits
from clip_sae.planning.inputs import SPLITS
from clip_sae.planning.kinds import Expected, published


def check_counts(listing: Listing, root: Path, options: dict) -> str:
    """Compare with the option `expect`; return the name of the counts, for the summary.

    expect: "official" (the default where counts are published), the name of a published set such
    as rta100, None (no check), or a mapping with train, val, test, total, classes.
    Raises DatasetError with every difference and, if they are known, the missing files.
    """
    default = "official" if listing.published else None
    name, expected = _expected(options.get("expect", default), listing.published)
    if expected is None:
        return "nothing"
    rows = listing.rows
    faults = []
    for split, n in expected.splits.items():
        found = int((rows["split"] == split).sum())
        if split in wanted_splits(options) and found != n:
            hint = _missing_val_images(rows) if split == "val" and n == 50_000 else ""
            faults.append(f"{split}: {found} images found, {n} expected{hint}")
    if expected.total is not None and len(rows) != expected.total:
        faults.append(f"{len(rows)} images found, {expected.total} expected")
    if expected.classes is not None and len(listing.labels) != expected.classes:
        hint = _missing_wnids(listing.labels, expected.classes)
        faults.append(f"{len(listing.labels)} classes found, {expected.classes} expected{hint}")
    faults += _class_faults(listing, expected) + _group_faults(listing, expected)
    if faults:
        raise DatasetError(
            f"{root} is not the whole {name} set:\n  "
            + "\n  ".join(faults)
            + "\nComplete the data. To use a part of it, set `splits` (some splits) or `expect` "
            "(your own counts, or null) in config.yaml."
        )
    return name


def _expected(expect: object, own: str | None) -> tuple[str, Expected | None]:
    known = published()
    if expect is None:
        return "", None
    if expect == "official":
        if own is None:
            raise DatasetError(
                f"expect is official, but no counts are published for this kind of set; use one "
                f"of {', '.join(known)}, your own counts, or null."
            )
        return own, known[own]
    if isinstance(expect, str):
        return expect, known[expect]
    splits = {split: n for split, n in expect.items() if split in SPLITS}
    return "expected", Expected(splits, expect.get("total"), expect.get("classes"))


def _class_faults(listing: Listing, expected: Expected) -> list[str]:
    faults = []
    for split, (fewest, most) in expected.per_class.items():
        sizes = listing.rows.loc[listing.rows["split"] == split, "label"].value_counts()
        if sizes.empty:
            continue
        sizes = sizes.reindex(listing.labels, fill_value=0)
        wrong = [f"{label}: {n}" for label, n in sizes.items() if not fewest <= n <= most]
        if wrong:
            span = str(fewest) if fewest == most else f"{fewest} to {most}"
            faults.append(f"{split}: classes without their {span} images: {some(wrong)}")
    return faults


def _group_faults(listing: Listing, expected: Expected) -> list[str]:
    if listing.groups is None:
        return []
    faults = []
    for split, sizes in expected.groups.items():
        groups = listing.groups[(listing.rows["split"] == split).to_numpy()]
        found = tuple(int((groups == group).sum()) for group in range(len(sizes)))
        if len(groups) and found != sizes:
            faults.append(f"{split}: groups of {found} images found, {sizes} expected")
    return faults


def _missing_wnids(labels: list[str], n: int) -> str:
    wnids = imagenet_wnids()
    if wnids is None or n != len(wnids) or not are_wnids(labels):
        return ""
    return f"; missing: {some(sorted(set(wnids) - set(labels)))}"


def _missing_val_images(rows: pd.DataFrame) -> str:
    stems = set(rows.loc[rows["split"] == "val", "path"].map(lambda path: Path(path).stem))
    published = {f"ILSVRC2012_val_{i:08d}" for i in range(1, 50_001)}
    missing = sorted(published - stems)
    if not missing or not stems & published:
        return ""
    return f"; missing: {some(missing)}"

"""Published sizes of the data sets, and the check that the one on disk has them.

Paper: §7.1 (Waterbirds, CelebA), Table 2 (typographic sets); sources beside the numbers.
"""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from clip_sae.datasets.class_names import are_wnids, imagenet_wnids
from clip_sae.datasets.listing import SPLITS, DatasetError, Listing, some, wanted_splits


@dataclass(frozen=True)
class Expected:
    """What a set must hold; empty fields are not checked.

    splits: images of each split. total: images in all. classes: number of classes.
    per_class: (fewest, most) images of one class in a split. groups: images of group 0, 1, 2, 3.
    """

    splits: dict[str, int] = field(default_factory=dict)
    total: int | None = None
    classes: int | None = None
    per_class: dict[str, tuple[int, int]] = field(default_factory=dict)
    groups: dict[str, tuple[int, ...]] = field(default_factory=dict)


_IMAGENET = Expected(  # Russakovsky et al. 2015, Table 2
    splits={"train": 1_281_167, "val": 50_000},
    classes=1000,
    per_class={"train": (732, 1300), "val": (50, 50)},
)
OFFICIAL = {
    "imagenet": _IMAGENET,
    "imagenet_kaggle": _IMAGENET,
    "imagenet100": Expected(  # kaggle.com/datasets/ambityga/imagenet100
        splits={"train": 130_000, "val": 5_000},
        classes=100,
        per_class={"train": (1300, 1300), "val": (50, 50)},
    ),
    "imagenet100_by_wnids": Expected(
        classes=100, per_class={"train": (732, 1300), "val": (50, 50)}
    ),
    "waterbirds": Expected(  # Sagawa et al. 2020; groups 2·waterbird + water
        splits={"train": 4_795, "val": 1_199, "test": 5_794},
        groups={
            "train": (3498, 184, 56, 1057),
            "val": (467, 466, 133, 133),
            "test": (2255, 2255, 642, 642),
        },
    ),
    "celeba": Expected(  # Liu et al. 2015; groups 2·blond + male
        splits={"train": 162_770, "val": 19_867, "test": 19_962},
        groups={
            "train": (71_629, 66_874, 22_880, 1_387),
            "val": (8_535, 8_276, 2_874, 182),
            "test": (9_767, 7_535, 2_480, 180),
        },
    ),
    "rta100": Expected(total=1_000),  # Azuma & Matsui 2023
    "paint": Expected(total=110),  # Ilharco et al. 2022
    "materzynska": Expected(total=180),  # Materzynska et al. 2022, README
    "scam": Expected(total=1_162),  # Westerhoff et al. 2025: images of one type
}


def check_counts(listing: Listing, root: Path, options: dict) -> str:
    """Compare with what the option `expect` says; return what was checked, for the summary.

    expect: "official" (the default where counts are published), a name in `OFFICIAL` such as
    rta100, None (no check), or a mapping with train, val, test, total, classes.
    Raises DatasetError with every difference and, where they can be known, the missing files.
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
            hint = _missing_val_images(rows) if split == "val" and expected is _IMAGENET else ""
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
            + "\nComplete the data. If you mean to use a part, say so in config.yaml: `splits` "
            "takes some splits, `expect` your own counts or null."
        )
    return name


def _expected(expect: object, published: str | None) -> tuple[str, Expected | None]:
    if expect is None:
        return "", None
    if expect == "official":
        if published is None:
            raise DatasetError(
                f"expect is official, but no counts are published for this kind of set; use one "
                f"of {', '.join(OFFICIAL)}, your own counts, or null."
            )
        return published, OFFICIAL[published]
    if isinstance(expect, str) and expect in OFFICIAL:
        return expect, OFFICIAL[expect]
    keys = (*SPLITS, "total", "classes")
    if not isinstance(expect, dict) or not set(expect) <= set(keys):
        raise DatasetError(
            f"expect is {expect!r}; it must be official, null, one of {', '.join(OFFICIAL)}, or a "
            f"mapping with {', '.join(keys)}."
        )
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

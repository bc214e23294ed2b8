"""ImageNet-1k in its folder and Kaggle layouts, and ImageNet-100 in three forms.

Paper: activations and SAEs of all figures, zero-shot CE (Tables 3, 4), Table 2's validation set.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from clip_sae.datasets.class_names import are_wnids, imagenet_names
from clip_sae.datasets.listing import (
    ClassFolders,
    DatasetError,
    Listing,
    compare_with_disk,
    contents,
    entries,
    read_table,
    require,
    some,
    wanted_splits,
)
from clip_sae.planning.inputs import SPLITS
from clip_sae.planning.kinds import Expected, Option, kind

if TYPE_CHECKING:
    import pandas as pd

KAGGLE_DATA = "ILSVRC/Data/CLS-LOC"
KAGGLE_SOLUTION = "LOC_val_solution.csv"
KAGGLE_SYNSETS = "LOC_synset_mapping.txt"

IMAGENET = Expected(  # Russakovsky et al. 2015, Table 2
    splits={"train": 1_281_167, "val": 50_000},
    classes=1000,
    per_class={"train": (732, 1300), "val": (50, 50)},
)
IMAGENET100 = Expected(  # kaggle.com/datasets/ambityga/imagenet100
    splits={"train": 130_000, "val": 5_000},
    classes=100,
    per_class={"train": (1300, 1300), "val": (50, 50)},
)
BY_WNIDS = Expected(classes=100, per_class={"train": (732, 1300), "val": (50, 50)})
_NAMES = {
    "names": Option(
        {"enum": ["openai", "synset"]},
        "openai: open_clip's prompt names; synset: the first synonym in the set's own file",
    )
}


@kind(
    "imagenet",
    layout="`{train,val,test}/<class>/<image>`",
    options=_NAMES,
    published={"imagenet": IMAGENET},
)
def load_imagenet(root: Path, options: dict) -> Listing:
    """ImageNet-1k, or any other set in its folders.

    Other folders next to the splits are ignored, and a `test` folder without class folders
    (ImageNet's has no labels).
    """
    found = ClassFolders(root)
    _add_split_folders(found, "", options)
    rows = found.rows()
    # Classes that are not wnids mean another set in the same layout: no published counts.
    published = "imagenet" if are_wnids(rows["label"].unique()) else None
    return _listing(found, rows, options, "openai", _first_file(root), published)


@kind(
    "imagenet_kaggle",
    layout="`ILSVRC/Data/CLS-LOC/{train,val}`; val flat with `LOC_val_solution.csv`, or by wnid",
    options=_NAMES,
    published={"imagenet_kaggle": IMAGENET},
)
def load_imagenet_kaggle(root: Path, options: dict) -> Listing:
    """ImageNet-1k as Kaggle packs it."""
    found = ClassFolders(root)
    rows = _kaggle_rows(found, options)
    return _listing(found, rows, options, "openai", _first_file(root), "imagenet_kaggle")


@kind(
    "imagenet100",
    layout="`train.X1…`, `val.X` and `Labels.json`, or `[data/]{train,val}` and `Labels.json`",
    options=_NAMES
    | {
        "wnids": Option(
            {"type": ["array", "string"], "items": {"type": "string"}},
            "take these classes out of ImageNet-1k in either layout: a list, a file with one wnid "
            "per line, or a Labels.json",
        )
    },
    published={"imagenet100": IMAGENET100, "imagenet100_by_wnids": BY_WNIDS},
)
def load_imagenet100(root: Path, options: dict) -> Listing:
    """ImageNet-100: Kaggle's set, or a part of ImageNet-1k."""
    if "wnids" in options:
        return _derived(root, options)
    prefix = "data" if (root / "data" / "Labels.json").is_file() else ""
    base = root / prefix
    require(base, "Labels.json")
    labels = sorted(json.loads((base / "Labels.json").read_text(encoding="utf-8")))
    found = ClassFolders(root, labels)
    parts = [name for name in entries(base)[0] if name.startswith(("train.X", "val.X"))]
    for name in parts:
        if name.split(".")[0] in wanted_splits(options):
            found.add_split(f"{prefix}/{name}" if prefix else name, name.split(".")[0])
    if not parts:
        _add_split_folders(found, prefix, options)
    rows = found.rows()
    return _listing(found, rows, options, "synset", base / "Labels.json", "imagenet100", labels)


def _derived(root: Path, options: dict) -> Listing:
    wnids = _read_wnids(options["wnids"])
    found = ClassFolders(root, wnids)
    if (root / KAGGLE_DATA).is_dir():
        rows = _kaggle_rows(found, options)
    else:
        _add_split_folders(found, "", options)
        rows = found.rows()
    missing = [wnid for wnid in wnids if wnid not in set(rows["label"])]
    if missing:
        raise DatasetError(f"{root} has no images of these wnids: {some(missing)}.")
    return _listing(
        found, rows, options, "synset", _first_file(root), "imagenet100_by_wnids", wnids
    )


def _read_wnids(given: list[str] | str | Path) -> list[str]:
    if isinstance(given, str | Path):
        path = Path(given)
        if not path.is_file():
            raise DatasetError(f"wnids points at {path}, which is not a file.")
        text = path.read_text(encoding="utf-8")
        given = list(json.loads(text)) if path.suffix == ".json" else text.split("\n")
    wnids = sorted({line.split()[0] for line in given if line.strip()})
    if not are_wnids(wnids):
        wrong = [wnid for wnid in wnids if not are_wnids([wnid])]
        raise DatasetError(f"wnids must hold ids such as n01440764; found {some(wrong) or 'none'}.")
    return wnids


def _add_split_folders(found: ClassFolders, prefix: str, options: dict) -> None:
    base = found.root / prefix
    folders = entries(base)[0] if base.is_dir() else []
    for split in wanted_splits(options):
        if split in folders:
            folder = f"{prefix}/{split}" if prefix else split
            if split == "test" and not entries(base / split)[0]:
                found.ignored.append(folder)
            else:
                found.add_split(folder, split)
    found.ignored += [name for name in folders if name not in SPLITS]
    if not found.images:
        raise DatasetError(
            f"{base} has no images in {', '.join(f'{s}/<class>/' for s in wanted_splits(options))}"
            f"; it holds {contents(base)}."
        )


def _kaggle_rows(found: ClassFolders, options: dict) -> pd.DataFrame:
    root, splits = found.root, wanted_splits(options)
    require(root, *(f"{KAGGLE_DATA}/{s}" for s in ("train", "val") if s in splits))
    val = f"{KAGGLE_DATA}/val"
    val_is_flat = "val" in splits and not entries(root / val)[0]
    for split in ("train", "val"):
        if split in splits and not (split == "val" and val_is_flat):
            found.add_split(f"{KAGGLE_DATA}/{split}", split)
    if not val_is_flat:
        return found.rows()
    require(root, KAGGLE_SOLUTION)
    columns = ("ImageId", "PredictionString")
    solution = read_table(root / KAGGLE_SOLUTION, columns, dtype=str, keep_default_na=False)
    # "n03995372 85 1 499 272 …": the wnid, then its boxes
    labels = [text.split(" ")[0] for text in solution["PredictionString"]]
    paths = [f"{val}/{name}.JPEG" for name in solution["ImageId"]]
    found.ignored += compare_with_disk(root, paths, KAGGLE_SOLUTION)
    for path, label in zip(paths, labels, strict=True):
        if found.classes is None or label in found.classes:
            found.images.append((path, "val", label))
    return found.rows()


def _first_file(root: Path) -> Path | None:
    paths = (root / name for name in (KAGGLE_SYNSETS, "Labels.json"))
    return next((path for path in paths if path.is_file()), None)


def _listing(
    found: ClassFolders,
    rows: pd.DataFrame,
    options: dict,
    names: str,
    synset_file: Path | None,
    published: str | None,
    labels: list[str] | None = None,
) -> Listing:
    labels = sorted(set(rows["label"])) if labels is None else labels
    names_of, source = imagenet_names(labels, options.get("names", names), synset_file)
    return Listing(rows, labels, names_of, source, published, ignored=found.ignored)

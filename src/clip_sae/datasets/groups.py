"""Waterbirds and CelebA: sets with a label and one spurious attribute, listed in metadata files.

Paper: §7.1 and Tables 1, 5-8 (debiasing by suppressing latents).
"""

from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.datasets.listing import (
    SPLITS,
    DatasetError,
    Listing,
    compare_with_disk,
    contents,
    plain_name,
    require,
    some,
)

_WATERBIRDS_COLUMNS = ("img_filename", "y", "split", "place")
# Labels of attribute value 0 and 1, and their prompt names.
_CELEBA_LABELS = {"Male": ("female", "male"), "Blond_Hair": ("dark_hair", "blond_hair")}
_CELEBA_NAMES = {"female": "woman", "male": "man"}


def load_waterbirds(root: Path, options: dict) -> Listing:
    """The official `metadata.csv` (y 1 = waterbird, place 1 = water, split 0/1/2) and its folders.

    attr_water is the background; groups are 2·y + place.
    """
    require(root, "metadata.csv")
    table = pd.read_csv(root / "metadata.csv")
    _require_columns(table, _WATERBIRDS_COLUMNS, "metadata.csv")
    for column, values in (("y", (0, 1)), ("place", (0, 1)), ("split", (0, 1, 2))):
        _require_values(table[column], values, f"metadata.csv, column {column}")
    ignored = compare_with_disk(root, table["img_filename"], "metadata.csv")
    labels = ["landbird", "waterbird"]
    rows = pd.DataFrame(
        {
            "path": table["img_filename"],
            "split": np.array(SPLITS)[table["split"]],
            "label": np.array(labels)[table["y"]],
            "word": "",
            "attr_water": table["place"],
        }
    )
    groups = 2 * table["y"] + table["place"]
    names = dict(zip(labels, labels, strict=True))
    return Listing(rows, labels, names, "labels", "waterbirds", groups, ignored)


def load_celeba(root: Path, options: dict) -> Listing:
    """CelebA's attribute and partition files (.txt, else .csv) and `img_align_celeba/`, which may
    hold the images in a second folder of that name (Kaggle).

    target (label; the paper: Male) and attribute (spurious; the paper: Blond_Hair) are options;
    swapped, they are the literature's benchmark. Both become columns attr_<name in lower case>.
    """
    attributes, source = _celeba_attributes(root)
    partition = _celeba_partition(root)
    _same_images(attributes.index, partition.index, source)
    partition = partition.loc[attributes.index]
    folder = _celeba_images(root)
    target, attribute = options.get("target", "Male"), options.get("attribute", "Blond_Hair")
    for name in (target, attribute):
        if name not in attributes:
            raise DatasetError(
                f"{source} has no attribute {name!r}; it has {some(attributes, 40)}."
            )
    positive, negative = target.lower(), f"not_{target.lower()}"
    labels = list(_CELEBA_LABELS.get(target, (negative, positive)))
    columns = {f"attr_{n.lower()}": attributes[n].to_numpy() for n in (target, attribute)}
    rows = pd.DataFrame(
        {
            "path": [f"{folder}/{name}" for name in attributes.index],
            "split": np.array(SPLITS)[partition],
            "label": np.array(labels)[attributes[target]],
            "word": "",
            **columns,
        }
    )
    ignored = compare_with_disk(root, rows["path"], source)
    names = {label: _CELEBA_NAMES.get(label, plain_name(label)) for label in labels}
    groups = None
    if {"Male", "Blond_Hair"} <= set(attributes):
        groups = (2 * attributes["Blond_Hair"] + attributes["Male"]).reset_index(drop=True)
    return Listing(rows, labels, names, "labels", "celeba", groups, ignored)


def _one_of(root: Path, stem: str) -> Path:
    paths = [root / f"{stem}.txt", root / f"{stem}.csv"]
    for path in paths:
        if path.is_file():
            return path
    raise DatasetError(
        f"{root} lacks {paths[0].name} (or {paths[1].name}); it holds {contents(root)}."
    )


def _celeba_attributes(root: Path) -> tuple[pd.DataFrame, str]:
    """Attribute values 0/1, indexed by image name, and the name of the file they come from."""
    path = _one_of(root, "list_attr_celeba")
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        _require_columns(table, ("image_id",), path.name)
        table = table.set_index("image_id")
    else:
        # Line 1: number of images; line 2: names; then image and values, by runs of spaces.
        with open(path, encoding="utf-8") as file:
            stated, names = file.readline().strip(), file.readline().split()
        table = pd.read_csv(path, sep=r"\s+", skiprows=2, header=None, index_col=0)
        if not stated.isdigit() or int(stated) != len(table) or len(names) != table.shape[1]:
            raise DatasetError(
                f"{path} says {stated!r} images and names {len(names)} attributes, but has "
                f"{len(table)} rows of {table.shape[1]} values: it is cut or edited. Download it "
                f"again."
            )
        table.columns = names
    wrong = [name for name in table if not set(table[name].unique()) <= {-1, 1}]
    if wrong:
        raise DatasetError(f"{path} must hold -1 and 1 only; the columns {some(wrong)} do not.")
    return (table > 0).astype(np.int64), path.name


def _celeba_partition(root: Path) -> pd.Series:
    """Split number 0/1/2, indexed by image name."""
    path = _one_of(root, "list_eval_partition")
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        _require_columns(table, ("image_id", "partition"), path.name)
    else:
        table = pd.read_csv(path, sep=r"\s+", header=None, names=["image_id", "partition"])
    _require_values(table["partition"], (0, 1, 2), path.name)
    return table.set_index("image_id")["partition"]


def _celeba_images(root: Path) -> str:
    require(root, "img_align_celeba")
    inner = "img_align_celeba/img_align_celeba"
    return inner if (root / inner).is_dir() else "img_align_celeba"


def _same_images(attributes: pd.Index, partition: pd.Index, source: str) -> None:
    if attributes.has_duplicates or partition.has_duplicates:
        twice = [*attributes[attributes.duplicated()], *partition[partition.duplicated()]]
        raise DatasetError(f"{source} or list_eval_partition lists images twice: {some(twice)}.")
    only_one = sorted(set(attributes) ^ set(partition))
    if only_one:
        raise DatasetError(
            f"{source} and list_eval_partition list different images: {some(only_one)} are in one "
            f"of them only. Take both files from the same release."
        )


def _require_columns(table: pd.DataFrame, columns: tuple[str, ...], source: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise DatasetError(
            f"{source} lacks the columns {', '.join(missing)}; it has {some(table.columns, 50)}."
        )


def _require_values(column: pd.Series, allowed: tuple[int, ...], source: str) -> None:
    wrong = sorted(map(str, set(column.unique()) - set(allowed)))
    if wrong:
        raise DatasetError(f"{source} must hold {allowed} only; found {some(wrong)}.")

"""CelebA: faces with forty attributes (§7.1; Tables 1, 5 and 6)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clip_sae.datasets.listing import (
    DatasetError,
    Listing,
    compare_with_disk,
    contents,
    plain_name,
    read_table,
    require,
    require_values,
    rows_of,
    some,
)
from clip_sae.planning.inputs import SPLITS
from clip_sae.planning.kinds import Expected, Option, kind

if TYPE_CHECKING:
    import pandas as pd

# Labels of attribute value 0 and 1, and their prompt names.
_LABELS = {"Male": ("female", "male"), "Blond_Hair": ("dark_hair", "blond_hair")}
_NAMES = {"female": "woman", "male": "man"}
LIU = Expected(  # Liu et al. 2015; groups 2·blond + male
    splits={"train": 162_770, "val": 19_867, "test": 19_962},
    groups={
        "train": (71_629, 66_874, 22_880, 1_387),
        "val": (8_535, 8_276, 2_874, 182),
        "test": (9_767, 7_535, 2_480, 180),
    },
)


@kind(
    "celeba",
    layout="`list_attr_celeba`, `list_eval_partition` (.txt or .csv) and `img_align_celeba/`",
    options={
        "target": Option({"type": "string"}, "attribute that is the label (Male, as the paper)"),
        "attribute": Option({"type": "string"}, "spurious attribute (Blond_Hair, as the paper)"),
    },
    published={"celeba": LIU},
)
def load_celeba(root: Path, options: dict) -> Listing:
    """CelebA (Liu et al. 2015): one attribute is the label, another is spurious.

    `img_align_celeba/` may hold the images in a second folder of that name (Kaggle). Swapped,
    `target` and `attribute` are the literature's benchmark. Both become columns attr_<name in
    lower case>.
    """
    attributes, source = _attributes(root)
    partition = _partition(root)
    _same_images(attributes.index, partition.index, source)
    require(root, "img_align_celeba")
    folder = "img_align_celeba/img_align_celeba"
    folder = folder if (root / folder).is_dir() else "img_align_celeba"
    target, attribute = options.get("target", "Male"), options.get("attribute", "Blond_Hair")
    for name in (target, attribute):
        if name not in attributes:
            raise DatasetError(
                f"{source} has no attribute {name!r}; it has {some(attributes, 40)}."
            )
    labels = list(_LABELS.get(target, (f"not_{target.lower()}", target.lower())))
    rows = rows_of(
        [f"{folder}/{name}" for name in attributes.index],
        [SPLITS[number] for number in partition.loc[attributes.index]],
        [labels[value] for value in attributes[target]],
        **{f"attr_{name.lower()}": attributes[name].tolist() for name in (target, attribute)},
    )
    ignored = compare_with_disk(root, rows["path"], source)
    names = {label: _NAMES.get(label, plain_name(label)) for label in labels}
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


def _attributes(root: Path) -> tuple[pd.DataFrame, str]:
    """Return attribute values 0/1, indexed by image name, and the name of their file."""
    path = _one_of(root, "list_attr_celeba")
    if path.suffix == ".csv":
        table = read_table(path, ("image_id",)).set_index("image_id")
    else:
        # Line 1: number of images; line 2: names; then image and values, by runs of spaces.
        with open(path, encoding="utf-8") as file:
            stated, names = file.readline().strip(), file.readline().split()
        table = read_table(path, (), sep=r"\s+", skiprows=2, header=None, index_col=0)
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
    return (table > 0).astype("int64"), path.name


def _partition(root: Path) -> pd.Series:
    """Return the split's number 0/1/2, indexed by image name."""
    path = _one_of(root, "list_eval_partition")
    columns = ["image_id", "partition"]
    layout = {} if path.suffix == ".csv" else {"sep": r"\s+", "header": None, "names": columns}
    table = read_table(path, columns, **layout)
    require_values(table["partition"], (0, 1, 2), path.name)
    return table.set_index("image_id")["partition"]


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

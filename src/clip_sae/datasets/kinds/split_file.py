"""Sets whose images a JSON file lists by split: the usual ones of prompt learning (PatchSAE §5).

Zhou et al. 2022 (CoOp) fixed the splits of nine of the eleven sets in one JSON file each, which is
passed on with the data. The first half of the classes is base, the second novel, in its order.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clip_sae.datasets.listing import (
    DatasetError,
    Listing,
    compare_with_disk,
    contents,
    read_json,
    require,
    rows_of,
    some,
)
from clip_sae.planning.inputs import SPLITS
from clip_sae.planning.kinds import Option, kind

if TYPE_CHECKING:
    import pandas as pd


@kind(
    "split_file",
    layout="`split_*.json` and the images that it lists",
    options={
        "file": Option({"type": "string"}, "name of the JSON file, where `root` holds several"),
        "images": Option({"type": "string"}, "folder below `root` that the paths start from"),
    },
)
def load_split_file(root: Path, options: dict) -> Listing:
    """The sets of prompt learning (Zhou et al. 2022), listed by split in one JSON file.

    {"train" | "val" | "test": [[image, class number, class name], …]}. Classes keep the file's
    numbers.
    """
    source = options.get("file") or _only_split_file(root)
    require(root, source)
    rows, names = _listed(root / source)
    folder = str(options.get("images", ".")).strip("/")
    if folder not in ("", "."):
        require(root, folder)
        rows["path"] = f"{folder}/" + rows["path"]
    ignored = compare_with_disk(root, rows["path"], source)
    return Listing(rows, [names[number] for number in sorted(names)], ignored=ignored)


def _only_split_file(root: Path) -> str:
    found = sorted(path.name for path in root.glob("split_*.json"))
    if len(found) != 1:
        raise DatasetError(
            f"{root} holds {some(found) or 'no split_*.json'}; one file must list the splits. Name "
            f"it as the option `file`. (The folder holds {contents(root)}.)"
        )
    return found[0]


def _listed(path: Path) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return the images of a split file, and its class names by number."""
    lists = read_json(path, (dict, list))
    try:
        images = [
            (str(image).lstrip("/"), split, int(number), str(name))
            for split in SPLITS
            if split in lists
            for image, number, name in lists[split]
        ]
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"{path} must be JSON of train, val and test, each a list of [image, class number, "
            f"class name] ({error}). Download it again."
        ) from None
    if not images:
        raise DatasetError(f"{path} lists no image under {', '.join(SPLITS)}.")
    paths, splits, numbers, labels = zip(*images, strict=True)
    pairs = sorted(set(zip(numbers, labels, strict=True)))
    names = dict(pairs)
    if len(names) < len(pairs) or len(set(names.values())) < len(pairs):
        known, called = [n for n, _ in pairs], [name for _, name in pairs]
        odd = [(n, name) for n, name in pairs if known.count(n) + called.count(name) > 2]
        raise DatasetError(
            f"{path} gives a class number several names, or a name several numbers: "
            f"{some(f'{n} {name!r}' for n, name in odd)}. Correct the file."
        )
    return rows_of(paths, splits, labels), names

"""Sets whose images are listed by their split: the usual ones of prompt learning, FGVC-Aircraft.

PatchSAE §5 (adaptation). Zhou et al. 2022 (CoOp) fixed the splits of nine of the eleven sets in one
JSON file each, which is passed on with the data; FGVC-Aircraft has text files of its own; ImageNet
is the kind `imagenet`. Which classes are base and which novel follows the order of these lists.
"""

import json
from pathlib import Path

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


def load_split_file(root: Path, options: dict) -> Listing:
    """`<root>/split_*.json`: {"train" | "val" | "test": [[image, class number, class name], …]}.

    Option `file`: its name, where several lie in `root`. Option `images`: the folder in `root` that
    the listed paths are relative to (default: `root` itself). Classes keep the file's numbers.
    """
    source = options.get("file") or _only_split_file(root)
    require(root, source)
    rows, names = _listed(root / source)
    folder = str(options.get("images", ".")).strip("/")
    if folder not in ("", "."):
        require(root, folder)
        rows["path"] = f"{folder}/" + rows["path"]
    ignored = compare_with_disk(root, rows["path"], source)
    labels = [names[number] for number in sorted(names)]
    return Listing(rows, labels, {label: plain_name(label) for label in labels}, ignored=ignored)


def load_fgvc_aircraft(root: Path, options: dict) -> Listing:
    """FGVC-Aircraft (Maji et al. 2013): `variants.txt`, `images_variant_<split>.txt`, `images/`.

    `root` is the folder `data` of the archive. Classes are variants, in the order of variants.txt.
    """
    lists = {split: f"images_variant_{split}.txt" for split in SPLITS}
    require(root, "variants.txt", "images", *lists.values())
    labels = _lines(root / "variants.txt")
    rows = []
    for split, name in lists.items():
        for line in _lines(root / name):
            image, _, label = line.partition(" ")
            rows.append((f"images/{image}.jpg", split, label))
    frame = pd.DataFrame(rows, columns=["path", "split", "label"]).assign(word="")
    unknown = sorted(set(frame["label"]) - set(labels))
    if unknown:
        raise DatasetError(
            f"{root} lists images of variants that variants.txt lacks: {some(unknown)}. Unpack the "
            "archive again."
        )
    ignored = compare_with_disk(root, frame["path"], "images_variant_*.txt")
    return Listing(frame, labels, {label: plain_name(label) for label in labels}, ignored=ignored)


def _only_split_file(root: Path) -> str:
    found = sorted(path.name for path in root.glob("split_*.json"))
    if len(found) != 1:
        raise DatasetError(
            f"{root} holds {some(found) or 'no split_*.json'}; one file must list the splits. Name "
            f"it as the option `file`. (The folder holds {contents(root)}.)"
        )
    return found[0]


def _listed(path: Path) -> tuple[pd.DataFrame, dict[int, str]]:
    """The images of a split file, and its class names by number."""
    try:
        lists = json.loads(path.read_text(encoding="utf-8"))
        rows = [
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
    if not rows:
        raise DatasetError(f"{path} lists no image under {', '.join(SPLITS)}.")
    frame = pd.DataFrame(rows, columns=["path", "split", "number", "label"]).assign(word="")
    pairs = frame[["number", "label"]].drop_duplicates()
    odd = pairs[pairs["number"].duplicated(keep=False) | pairs["label"].duplicated(keep=False)]
    if len(odd):
        shown = some(f"{row.number} {row.label!r}" for row in odd.itertuples())
        raise DatasetError(
            f"{path} gives a class number several names, or a name several numbers: {shown}. "
            "Correct the file."
        )
    names = dict(zip(pairs["number"], pairs["label"], strict=True))
    return frame[["path", "split", "label", "word"]], names


def _lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]

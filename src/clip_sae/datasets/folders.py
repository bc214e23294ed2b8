"""Generic image folders, and typographic sets whose file names carry object and written word.

Paper: Table 2 (RTA-100, PAINT); the demo's typographic set; anybody's own images.
"""

import re
from pathlib import Path

import pandas as pd

from clip_sae.datasets.listing import (
    SPLITS,
    ClassFolders,
    DatasetError,
    Listing,
    contents,
    entries,
    is_image_name,
    plain_name,
    some,
    wanted_splits,
)

_ATTACKED = re.compile(r"label=(?P<label>.+)_text=(?P<word>.*)\.[^.]+")
UNLABELLED = "unlabelled"


def load_image_folder(root: Path, options: dict) -> Listing:
    """`<root>/[<split>/]<class>/<image>`, or images without class folders (label "unlabelled").

    Without split folders all images belong to the split of the option `split` ("train").
    """
    found = ClassFolders(root)
    for folder, split in _split_folders(root, options, default="train"):
        folders, files = entries(root / folder)
        if folders:
            found.add_split(folder, split)
        elif any(is_image_name(name) for name in files):
            found.add_class(folder, split, UNLABELLED)
    rows = found.rows()
    if rows.empty:
        raise DatasetError(f"{root} has no images in its class folders; it holds {contents(root)}.")
    labels = sorted(set(rows["label"]))
    names = {label: plain_name(label) for label in labels}
    return Listing(rows, labels, names, ignored=found.ignored)


def load_typographic(root: Path, options: dict) -> Listing:
    """`<root>/[<split>/]label=<object>_text=<written word>.<ext>`; an empty word: not attacked.

    The classes are the union of objects and written words, sorted: the prediction is the argmax
    over all of them (Defense-Prefix's protocol), so a label index is an index of that list.
    Without split folders all images belong to the split of the option `split` ("test").
    """
    rows, ignored, nameless = [], [], []
    for folder, split in _split_folders(root, options, default="test"):
        prefix = "" if folder == "." else f"{folder}/"
        folders, files = entries(root / folder)
        ignored += [prefix + name for name in folders]
        for name in files:
            match = _ATTACKED.fullmatch(name)
            if not is_image_name(name):
                ignored.append(prefix + name)
            elif match is None:
                nameless.append(prefix + name)
            else:
                rows.append((prefix + name, split, match["label"], match["word"]))
    if nameless:
        raise DatasetError(
            f"{root} has images whose names are not label=<object>_text=<word>.<ext>: "
            f"{some(nameless)}. Rename or remove them."
        )
    if not rows:
        raise DatasetError(
            f"{root} has no images named label=<object>_text=<word>.<ext>, neither directly nor in "
            f"train/, val/, test/; it holds {contents(root)}."
        )
    frame = pd.DataFrame(rows, columns=["path", "split", "label", "word"])
    labels = sorted((set(frame["label"]) | set(frame["word"])) - {""})
    return Listing(frame, labels, {label: plain_name(label) for label in labels}, ignored=ignored)


def _split_folders(root: Path, options: dict, default: str) -> list[tuple[str, str]]:
    """(folder, split) pairs; the root itself if it has no split folder."""
    wanted = wanted_splits(options)
    here = entries(root)[0]
    if any(name in SPLITS for name in here):
        if "split" in options:
            raise DatasetError(
                f"split is {options['split']!r}, but {root} has its own split folders; remove the "
                f"option, or use splits to take some of them."
            )
        return [(split, split) for split in wanted if split in here]
    split = options.get("split", default)
    if split not in SPLITS:
        raise DatasetError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}.")
    return [(".", split)]

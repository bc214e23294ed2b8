"""Typographic benchmarks: a word is written on or next to an object (Table 2).

A row's `label` is the object, its `word` the written word. The classes are the union of both,
sorted, because the prediction is the argmax over all of them (Defense-Prefix's protocol).
"""

import re
from dataclasses import replace
from pathlib import Path

from clip_sae.datasets.listing import (
    DatasetError,
    Listing,
    compare_with_disk,
    contents,
    entries,
    is_image_name,
    read_json,
    rows_of,
    some,
    split_folders,
)
from clip_sae.planning.inputs import SPLITS
from clip_sae.planning.kinds import Expected, Option, kind

_ATTACKED = re.compile(r"label=(?P<label>.+)_text=(?P<word>.*)\.[^.]+")
_NAMED = "`[<split>/]label=<object>_text=<written word>.<ext>`"
_ANNOTATIONS = ("annotations.json", "annotation.json")
_UNATTACKED = ("", "none", "null", "no label", "unattacked")
_SPLIT = {"split": Option({"enum": [*SPLITS]}, "split of images without split folders (test)")}


@kind("typographic", layout=_NAMED, options=_SPLIT)
def load_typographic(root: Path, options: dict) -> Listing:
    """Typographic sets whose file names carry object and written word; an empty word: no attack."""
    images, ignored, nameless = [], [], []
    for folder, split in split_folders(root, options, default="test"):
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
                images.append((prefix + name, split, match["label"], match["word"]))
    if nameless:
        raise DatasetError(
            f"{root} has images whose names are not label=<object>_text=<word>.<ext>: "
            f"{some(nameless)}. Rename or remove them."
        )
    if not images:
        raise DatasetError(
            f"{root} has no images named label=<object>_text=<word>.<ext>, neither directly nor in "
            f"train/, val/, test/; it holds {contents(root)}."
        )
    rows = rows_of(*zip(*images, strict=True))
    return Listing(rows, _union(rows), ignored=ignored)


@kind(
    "rta100",
    layout="`[data/]label=<object>_text=<written word>.<ext>`",
    options=_SPLIT,
    published={"rta100": Expected(total=1_000)},
)
def load_rta100(root: Path, options: dict) -> Listing:
    """RTA-100 (Azuma and Matsui 2023): handwritten notes next to objects."""
    return _published(root, options, "rta100", "data")


@kind(
    "paint",
    layout="`[typographic_attacks/]label=<object>_text=<written word>.<ext>`",
    options=_SPLIT,
    published={"paint": Expected(total=110)},
)
def load_paint(root: Path, options: dict) -> Listing:
    """PAINT (Ilharco et al. 2022): notes on objects."""
    return _published(root, options, "paint", "typographic_attacks")


def _published(root: Path, options: dict, name: str, wrapper: str) -> Listing:
    """List a set whose archive may wrap a folder around the images."""
    if not (root / wrapper).is_dir() or any(map(is_image_name, entries(root)[1])):
        return replace(load_typographic(root, options), published=name)
    inner = load_typographic(root / wrapper, options)
    rows = inner.rows.assign(path=f"{wrapper}/" + inner.rows["path"])
    ignored = [f"{wrapper}/{path}" for path in inner.ignored]
    return replace(inner, rows=rows, ignored=ignored, published=name)


def _union(rows) -> list[str]:
    return sorted((set(rows["label"]) | set(rows["word"])) - {""})


@kind(
    "materzynska",
    layout="`annotations.json` with `[images/]`, or `label=<object>_text=<written word>.<ext>`",
    options=_SPLIT
    | {
        "classes": Option(
            {"enum": ["union", "file"]},
            "union: of objects and words (the default); file: the keys of classes.json, as "
            "Defense-Prefix scores",
        )
    },
    published={"materzynska": Expected(total=180)},  # README of the authors
)
def load_materzynska(root: Path, options: dict) -> Listing:
    """The set of Materzynska et al. 2022, in any of the three layouts that are passed on.

    - `annotations.json` (or `annotation.json`) with the images next to it;
    - the same with the images in `images/`, and `classes.json` (Defense-Prefix);
    - file names that carry object and word: `label=<object>_text=<word>.<ext>`.

    The JSON maps a file name to "true object" and "typographic attack label", which is empty or
    "none" for an image without an attack.
    """
    source = next((name for name in _ANNOTATIONS if (root / name).is_file()), None)
    choice = options.get("classes", "union")
    if source is None:
        if not any(name.startswith("label=") for name in entries(root)[1]):
            raise DatasetError(
                f"{root} has neither annotations.json nor images named "
                f"label=<object>_text=<word>.<ext>; it holds {contents(root)}."
            )
        listing = load_typographic(root, {k: v for k, v in options.items() if k != "classes"})
        return replace(listing, published="materzynska")
    rows = _annotated(root, source)
    ignored = compare_with_disk(root, rows["path"], source)
    labels = _union(rows)
    if choice == "file":
        labels = _listed_classes(root, labels)
    return Listing(rows, labels, published="materzynska", ignored=ignored)


def _annotated(root: Path, source: str):
    """Return the rows of a file of annotations."""
    notes = read_json(root / source)
    folder = "images/" if (root / "images").is_dir() else ""
    keys = ("true object", "typographic attack label")
    broken = [
        name
        for name, note in notes.items()
        if not isinstance(note, dict) or not all(key in note for key in keys)
    ]
    if broken or not notes:
        raise DatasetError(
            f"{root / source} must map file names to {' and '.join(map(repr, keys))}; "
            f"{some(broken) or 'nothing'} does not."
        )
    words = []
    for note in notes.values():
        word = "" if note[keys[1]] is None else str(note[keys[1]])
        words.append("" if word.strip().lower() in _UNATTACKED else word)
    labels = [str(note[keys[0]]) for note in notes.values()]
    return rows_of([folder + name for name in notes], "test", labels, words)


def _listed_classes(root: Path, needed: list[str]) -> list[str]:
    if not (root / "classes.json").is_file():
        raise DatasetError(
            f"classes is file, but {root} has no classes.json; it holds {contents(root)}. Write "
            f"`classes: union`."
        )
    listed = list(read_json(root / "classes.json", (dict, list)))
    missing = sorted(set(needed) - set(listed))
    if missing:
        raise DatasetError(
            f"{root / 'classes.json'} lacks {some(missing)}; write `classes: union`."
        )
    return sorted(listed)

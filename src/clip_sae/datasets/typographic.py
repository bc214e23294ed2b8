"""Typographic benchmarks in their published layouts: RTA-100, PAINT, Materzynska, SCAM.

Steering paper Table 2. A row's `label` is the object, its `word` the written word; the classes are
the union of both, because the prediction is the argmax over all of them (Defense-Prefix's
protocol). Sets whose file names carry both are read by `folders.load_typographic`.
"""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from clip_sae.datasets.folders import load_typographic
from clip_sae.datasets.listing import (
    DatasetError,
    Listing,
    compare_with_disk,
    contents,
    entries,
    is_image_name,
    plain_name,
    some,
)

# Folders that the archives wrap around the images.
_WRAPPERS = {"rta100": ("data",), "paint": ("typographic_attacks",)}
_ANNOTATIONS = ("annotations.json", "annotation.json")
_UNATTACKED = ("", "none", "null", "no label", "unattacked")
SCAM_TYPES = ("SCAM", "NoSCAM", "SynthSCAM")


def load_rta100(root: Path, options: dict) -> Listing:
    """RTA-100 (Azuma and Matsui 2023): `[data/]label=<object>_text=<word>.<ext>`, 1,000 images."""
    return _published(root, options, "rta100")


def load_paint(root: Path, options: dict) -> Listing:
    """PAINT (Ilharco et al. 2022): `[typographic_attacks/]label=…_text=….<ext>`, 110 images."""
    return _published(root, options, "paint")


def _published(root: Path, options: dict, name: str) -> Listing:
    for wrapper in _WRAPPERS[name]:
        if (root / wrapper).is_dir() and not any(map(is_image_name, entries(root)[1])):
            inner = load_typographic(root / wrapper, options)
            rows = inner.rows.assign(path=f"{wrapper}/" + inner.rows["path"])
            ignored = [f"{wrapper}/{path}" for path in inner.ignored]
            return replace(inner, rows=rows, ignored=ignored, published=name)
    return replace(load_typographic(root, options), published=name)


def load_materzynska(root: Path, options: dict) -> Listing:
    """Materzynska et al. 2022 in any of the three layouts in which it is passed on.

    - `annotations.json` (or `annotation.json`) with the images beside it;
    - the same with the images in `images/`, and `classes.json` (Defense-Prefix);
    - file names that carry object and word: `label=<object>_text=<word>.<ext>`.

    The JSON maps a file name to "true object" and "typographic attack label", which is empty or
    "none" for an image without an attack. Option `classes`: "union" of objects and words (the
    default), or "file" for the keys of classes.json, as Defense-Prefix scores.
    """
    source = next((name for name in _ANNOTATIONS if (root / name).is_file()), None)
    choice = options.get("classes", "union")
    if choice not in ("union", "file"):
        raise DatasetError(f"classes is {choice!r}; it must be union or file.")
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
    labels = sorted((set(rows["label"]) | set(rows["word"])) - {""})
    if choice == "file":
        labels = _listed_classes(root, labels)
    names = {label: plain_name(label) for label in labels}
    return Listing(rows, labels, names, published="materzynska", ignored=ignored)


def _annotated(root: Path, source: str) -> pd.DataFrame:
    notes = _json(root / source)
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
    rows = []
    for name, note in notes.items():
        word = "" if note[keys[1]] is None else str(note[keys[1]])
        word = "" if word.strip().lower() in _UNATTACKED else word
        rows.append((folder + name, "test", str(note[keys[0]]), word))
    return pd.DataFrame(rows, columns=["path", "split", "label", "word"])


def _listed_classes(root: Path, needed: list[str]) -> list[str]:
    if not (root / "classes.json").is_file():
        raise DatasetError(
            f"classes is file, but {root} has no classes.json; it holds {contents(root)}. Write "
            f"`classes: union`."
        )
    listed = list(_json(root / "classes.json", (dict, list)))
    missing = sorted(set(needed) - set(listed))
    if missing:
        raise DatasetError(
            f"{root / 'classes.json'} lacks {some(missing)}; write `classes: union`."
        )
    return sorted(listed)


def load_scam(root: Path, options: dict) -> Listing:
    """SCAM (Westerhoff et al. 2025): `[images/][train/]metadata.jsonl` and the images it names.

    Option `type`: SCAM (a real note with a word; the default), NoSCAM (the same photograph with an
    empty note) or SynthSCAM (the word drawn into NoSCAM). `word` is the attack word also where it
    is not in the picture, because the two-way protocol asks for object or word; `attr_written`
    says whether it is.
    """
    wanted = options.get("type", "SCAM")
    if wanted not in SCAM_TYPES:
        raise DatasetError(f"type is {wanted!r}; it must be one of {', '.join(SCAM_TYPES)}.")
    folder = next(
        (part for part in ("", "train", "images", "images/train")
         if (root / part / "metadata.jsonl").is_file()),
        None,
    )  # fmt: skip
    if folder is None:
        raise DatasetError(
            f"{root} has no metadata.jsonl, nor images/train/metadata.jsonl; it holds "
            f"{contents(root)}."
        )
    source = f"{folder}/metadata.jsonl".lstrip("/")
    table = _json_lines(root / source)
    columns = ("file_name", "type", "object_label", "attack_word")
    missing = [column for column in columns if column not in table]
    if missing:
        raise DatasetError(f"{root / source} lacks {some(missing)}; it has {some(table.columns)}.")
    odd = sorted(set(table["type"]) - set(SCAM_TYPES))
    if odd:
        raise DatasetError(f"{root / source} has images of type {some(odd)}; known: {SCAM_TYPES}.")
    paths = table["file_name"] if not folder else f"{folder}/" + table["file_name"]
    ignored = compare_with_disk(root, paths, source)
    labels = sorted(set(table["object_label"]) | set(table["attack_word"]))
    chosen = table["type"] == wanted
    rows = pd.DataFrame(
        {
            "path": paths,
            "split": "test",
            "label": table["object_label"],
            "word": table["attack_word"],
            "attr_written": (table["type"] != "NoSCAM").astype("int64"),
        }
    )[chosen].reset_index(drop=True)
    names = {label: plain_name(label) for label in labels}
    return Listing(rows, labels, names, published="scam", ignored=ignored)


def _json(path: Path, kinds: tuple[type, ...] = (dict,)) -> dict | list:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON ({error}). Download it again.") from None
    if not isinstance(value, kinds):
        raise DatasetError(f"{path} holds a {type(value).__name__}, not a map of names.")
    return value


def _json_lines(path: Path) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            if line.strip():
                rows.append(json.loads(line))
        except ValueError as error:
            raise DatasetError(f"{path}, line {number}, is not JSON ({error}).") from None
    return pd.DataFrame(rows)

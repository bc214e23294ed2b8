"""Prompt names of classes: open_clip's ImageNet names, synset files, or the user's own CSV.

Paper: the zero-shot classifiers behind CE and CE recovered (Tables 3, 4) and Table 2.
"""

import ast
import importlib.util
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from clip_sae.datasets.listing import DatasetError, contents, plain_name, read_table, some

_WNID = re.compile(r"n\d{8}")


def are_wnids(labels: Iterable[str]) -> bool:
    """Return True if every label is a WordNet id such as n01440764."""
    labels = list(labels)
    return bool(labels) and all(_WNID.fullmatch(label) for label in labels)


@cache
def openai_names() -> tuple[str, ...] | None:
    """Return the 1000 names of open_clip, in the order of sorted wnids; None without open_clip.

    Read from open_clip's source file, because importing open_clip imports torch.
    """
    source = _package_file("open_clip", "zero_shot_metadata.py")
    if source is None:
        return None
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == "IMAGENET_CLASSNAMES" for t in targets):
            return tuple(ast.literal_eval(node.value))
    return None


@cache
def imagenet_wnids() -> tuple[str, ...] | None:
    """Return the 1000 sorted wnids of ILSVRC 2012 from timm, which open_clip needs."""
    source = _package_file("timm", "data/_info/imagenet_synsets.txt")
    return None if source is None else tuple(source.read_text(encoding="utf-8").split())


def _package_file(package: str, relative: str) -> Path | None:
    spec = importlib.util.find_spec(package)  # does not import a top-level package
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / relative
    return path if path.is_file() else None


def openai_names_of(labels: Iterable[str]) -> dict[str, str] | None:
    """Return open_clip's names of the given wnids; None if one of them is not among the 1000."""
    labels = set(labels)
    names = openai_names()
    wnids = imagenet_wnids()
    if wnids is None and len(labels) == 1000 and are_wnids(labels):
        wnids = tuple(sorted(labels))  # the standard order is the sorted one
    if names is None or wnids is None or len(names) != len(wnids) or not labels <= set(wnids):
        return None
    return {wnid: name for wnid, name in zip(wnids, names, strict=True) if wnid in labels}


def synset_names(path: Path) -> dict[str, str]:
    """Return the first synonym of each wnid in `LOC_synset_mapping.txt` or `Labels.json`."""
    if path.suffix == ".json":
        synonyms = json.loads(path.read_text(encoding="utf-8"))
    else:
        lines = path.read_text(encoding="utf-8").splitlines()
        synonyms = dict(line.split(" ", 1) for line in lines if " " in line)
    return {wnid: text.split(",")[0].strip() for wnid, text in synonyms.items()}


def imagenet_names(
    labels: list[str], choice: str, synset_file: Path | None
) -> tuple[dict[str, str], str]:
    """Return the name of each label, and the source of the names; labels may be wnids.

    Args:
        choice: "openai" (open_clip's curated names) or "synset" (first synonym in the set's own
            mapping file, as Defense-Prefix for ImageNet-100); the other one is the fallback.
    """
    openai = openai_names_of(labels) if are_wnids(labels) else None
    synset = synset_names(synset_file) if synset_file is not None else None
    if synset is not None and not set(labels) <= set(synset):
        synset = None
    sources = {"openai": (openai, "open_clip"), "synset": (synset, str(synset_file))}
    other = "synset" if choice == "openai" else "openai"
    for names, source in (sources[choice], sources[other]):
        if names is not None:
            return {label: names[label] for label in labels}, Path(source).name
    return {label: plain_name(label) for label in labels}, "labels"


def user_names(labels: list[str], given: str | Path | dict[str, str]) -> dict[str, str]:
    """Return the names of the option `class_names`: a mapping, or a CSV with label and name."""
    names = given if isinstance(given, dict) else _read_names(Path(given))
    missing = [label for label in labels if not str(names.get(label, "")).strip()]
    if missing:
        raise DatasetError(
            f"class_names gives no name for {some(missing)}; it must name every one of the "
            f"{len(labels)} classes."
        )
    return {label: str(names[label]) for label in labels}


def _read_names(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise DatasetError(
            f"class_names points at {path}, which is not a file; {path.parent} holds "
            f"{contents(path.parent)}."
        )
    frame = read_table(path, ("label", "name"), dtype=str, keep_default_na=False)
    return dict(zip(frame["label"], frame["name"], strict=True))

"""The manifest: one CSV row per image, with a fingerprint of the data that it lists.

All later stages read a data set through its manifest alone.

    <folder>/manifest.csv      path, split, label, label_idx, word, attr_<name>…, operation,
                               parameter, status, reason; rows sorted by split, path, operation
    <folder>/classes.csv       label_idx, label, name
    <folder>/summary.json      counts for a reader
    <folder>/fingerprint.json  fingerprint and digests of both CSVs; written last
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from clip_sae.datasets.inside import first_outside
from clip_sae.datasets.listing import ATTACKED, CLEAN, DatasetError, some

_BEFORE_ATTRIBUTES = ["path", "split", "label", "label_idx", "word"]
_AFTER_ATTRIBUTES = ["operation", "parameter", "status", "reason"]
_TEXT = {c: str for c in (*_BEFORE_ATTRIBUTES, *_AFTER_ATTRIBUTES, "name") if c != "label_idx"}
_SORT = ["split", "path", "operation", "parameter"]


@dataclass(frozen=True)
class DatasetIndex:
    """A data set as tables. fingerprint: 64 hex digits, equal for equal data and labels."""

    manifest: pd.DataFrame
    classes: pd.DataFrame
    fingerprint: str
    summary: dict


def attribute_columns(manifest: pd.DataFrame) -> list[str]:
    """Return the columns attr_<name>, in their order."""
    return [column for column in manifest.columns if column.startswith("attr_")]


def arrange(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with columns and rows in the order of the file; missing ones are empty.

    Raises DatasetError if two rows are the same image with the same operation.
    """
    empty = {c: "" for c in _AFTER_ATTRIBUTES if c not in manifest}
    manifest = manifest.assign(**empty)
    columns = [*_BEFORE_ATTRIBUTES, *attribute_columns(manifest), *_AFTER_ATTRIBUTES]
    manifest = manifest[columns].sort_values(_SORT, ignore_index=True)
    twice = manifest.duplicated(["path", "operation", "parameter"])
    if twice.any():
        raise DatasetError(f"images are listed twice: {some(manifest.loc[twice, 'path'])}.")
    return manifest


def fingerprint_of(manifest: pd.DataFrame, classes: pd.DataFrame, files: list[str]) -> str:
    """Return the sha256 over rows, classes and one string per file (its size, maybe its content).

    The reason of a skipped image does not count, because Pillow words it.
    """
    digest = hashlib.sha256(_csv(manifest.drop(columns="reason")))
    digest.update(_csv(classes))
    digest.update("\n".join(files).encode())
    return digest.hexdigest()


def write_index(index: DatasetIndex, folder: Path) -> None:
    """Write the four files, fingerprint.json last; leave files with the same content untouched.

    A killed run leaves no fingerprint.json, so `read_manifest` refuses the folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "manifest.csv": _csv(index.manifest),
        "classes.csv": _csv(index.classes),
        "summary.json": _json(index.summary),
    }
    seal = {"fingerprint": index.fingerprint, "n_images": len(index.manifest)}
    for name in ("manifest.csv", "classes.csv"):
        seal[f"sha256_{name}"] = hashlib.sha256(contents[name]).hexdigest()
    contents["fingerprint.json"] = _json(seal)
    changed = [name for name, data in contents.items() if _bytes_of(folder / name) != data]
    if changed and changed != ["summary.json"] and "fingerprint.json" not in changed:
        changed.append("fingerprint.json")
    if "fingerprint.json" in changed:
        (folder / "fingerprint.json").unlink(missing_ok=True)
    for name in changed:
        partial = folder / f".{name}.partial"
        partial.write_bytes(contents[name])
        os.replace(partial, folder / name)


def read_manifest(folder: Path, split: str | None = None) -> pd.DataFrame:
    """Return the manifest, or the rows of one split; the index is the row number in manifest.csv.

    Skipped images are among the rows (status "skipped"). Raises DatasetError for an incomplete or
    edited manifest, for a path that leaves the data set's folder (results from strangers may have
    valid digests), and for a missing split.
    """
    manifest = _read(folder, "manifest.csv")
    row = first_outside(manifest["path"].tolist())
    if row is not None:
        raise DatasetError(
            f"{Path(folder) / 'manifest.csv'}, row {row}: the path {manifest['path'][row]!r} leads "
            f"out of the data set's folder, and no loader of this project writes such a row. "
            f"Nothing was opened. Delete {folder} and run snakemake again."
        )
    if split is None:
        return manifest
    if split not in set(manifest["split"]):
        found = ", ".join(sorted(set(manifest["split"]))) or "none"
        raise DatasetError(f"{folder} has no split {split!r}; its splits are {found}.")
    return manifest[manifest["split"] == split]


def read_index(folder: Path) -> DatasetIndex:
    """Read the files of `write_index`; raise as `read_manifest`."""
    manifest, classes = read_manifest(folder), read_classes(folder)
    seal = json.loads((Path(folder) / "fingerprint.json").read_bytes())
    summary = json.loads((Path(folder) / "summary.json").read_bytes())
    return DatasetIndex(manifest, classes, seal["fingerprint"], summary)


def read_classes(folder: Path) -> pd.DataFrame:
    """Return label_idx, label and name of every class, in the order of label_idx."""
    return _read(folder, "classes.csv")


def pair_rows(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return one row per usable attacked pair: path, split, and the rows `clean` and `attacked`.

    Args:
        manifest: of a set of kind attacked_pairs, whole or of one split; `clean` and `attacked` are
            labels of its index.

    Raises DatasetError for a manifest without a pair.
    """
    usable = manifest[manifest["status"] == "ok"]
    parts = usable["path"].str.split("/", n=1)
    table = pd.DataFrame(
        {"part": parts.str[0], "path": parts.str[-1], "split": usable["split"], "row": usable.index}
    )
    sides = [
        table[table["part"] == part].rename(columns={"row": part}).drop(columns="part")
        for part in (CLEAN, ATTACKED)
    ]
    pairs = sides[0].merge(sides[1], on=["path", "split"], validate="one_to_one")
    if pairs.empty:
        raise DatasetError(
            "the manifest holds no pair of clean/<path> and attacked/<path>: the set has another "
            "kind than attacked_pairs, or no usable image."
        )
    return pairs


def _read(folder: Path, name: str) -> pd.DataFrame:
    folder = Path(folder)
    seal, data = _bytes_of(folder / "fingerprint.json"), _bytes_of(folder / name)
    if seal is None or data is None:
        lacking = "fingerprint.json" if seal is None else name
        raise DatasetError(
            f"{folder} has no {lacking}: the data set was not indexed to the end. Run snakemake "
            f"again."
        )
    if json.loads(seal)[f"sha256_{name}"] != hashlib.sha256(data).hexdigest():
        raise DatasetError(
            f"{folder / name} does not match fingerprint.json: somebody cut or edited it. "
            f" Delete the folder and run snakemake again."
        )
    return pd.read_csv(folder / name, dtype=_TEXT, keep_default_na=False)


def _bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode("utf-8")


def _json(value: dict) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")

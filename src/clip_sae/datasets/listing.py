"""The listing that a loader returns, and the walks and tables that all loaders share.

The Snakefile imports the loaders for their registry, so pandas is imported in the functions that
need it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clip_sae.datasets.inside import first_outside, is_inside
from clip_sae.planning.inputs import SPLITS

if TYPE_CHECKING:
    import pandas as pd

CLEAN, ATTACKED = "clean", "attacked"  # folders of the two images of an attacked pair
EXTENSIONS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".ppm": "PPM",
    ".pgm": "PPM",
}


class DatasetError(ValueError):
    """A data set does not match its kind; the message names what is missing."""


@dataclass
class Listing:
    """Images as found on disk, before any is opened.

    Attributes:
        rows: path (posix, relative to the root), split, label, word, attr_<name> (0/1).
        labels: class ids in the order of label_idx.
        names: {label: prompt name}; by default the labels with spaces for underscores.
        names_from: source of the names, for the summary.
        published: name of the published set (`planning.kinds.published`), or None.
        groups: published group of each row.
        ignored: files and folders next to the images, relative to the root.
    """

    rows: pd.DataFrame
    labels: list[str]
    names: dict[str, str] = field(default_factory=dict)
    names_from: str = "labels"
    published: str | None = None
    groups: pd.Series | None = None
    ignored: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = self.names or {label: plain_name(label) for label in self.labels}


def rows_of(
    path: Sequence[str],
    split: Sequence[str] | str,
    label: Sequence[str],
    word: Sequence[str] | str = "",
    **attributes: Sequence[int],
) -> pd.DataFrame:
    """Return the rows of a listing; a single text is repeated in every row."""
    import pandas as pd

    columns = {"path": path, "split": split, "label": label, "word": word}
    return pd.DataFrame({**columns, **attributes})


def read_table(path: Path, columns: Sequence[str], **reading: object) -> pd.DataFrame:
    """Read a CSV file; raise DatasetError where it lacks one of `columns`."""
    import pandas as pd

    table = pd.read_csv(path, **reading)
    require_columns(table, columns, path)
    return table


def require_columns(table: Iterable[str], columns: Sequence[str], source: str | Path) -> None:
    """Raise DatasetError where a table that was read from `source` lacks one of `columns`."""
    missing = [column for column in columns if column not in table]
    if missing:
        raise DatasetError(
            f"{source} lacks the columns {', '.join(missing)}; it has {some(table, 50)}."
        )


def require_values(column: pd.Series, allowed: Sequence[int], source: str) -> None:
    """Raise DatasetError where a column holds other values than `allowed`."""
    wrong = sorted(map(str, set(column.unique()) - set(allowed)))
    if wrong:
        raise DatasetError(f"{source} must hold {allowed} only; found {some(wrong)}.")


def read_json(path: Path, kinds: tuple[type, ...] = (dict,)) -> dict | list:
    """Return the JSON in a file; raise DatasetError unless it is JSON of a type in `kinds`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON ({error}). Download it again.") from None
    if not isinstance(value, kinds):
        raise DatasetError(f"{path} holds a {type(value).__name__}, not a map of names.")
    return value


def plain_name(label: str) -> str:
    """Return the label as a prompt name: underscores become spaces, nothing else changes."""
    return label.replace("_", " ")


def wanted_splits(options: dict) -> tuple[str, ...]:
    """Return the splits that the option `splits` names; all of them without it."""
    return tuple(options.get("splits") or SPLITS)


def entries(folder: Path) -> tuple[list[str], list[str]]:
    """Return names of (subfolders, files) of a folder, each sorted; hidden folders are files."""
    folders, files = [], []
    with os.scandir(folder) as found:  # unlike iterdir, no call to the disk per file
        for entry in found:
            is_folder = entry.is_dir() and not entry.name.startswith(".")
            (folders if is_folder else files).append(entry.name)
    return sorted(folders), sorted(files)


def is_image_name(name: str) -> bool:
    """Return True if a name has an image's suffix; False for hidden files (`._x.jpg`)."""
    return Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")


def split_folders(root: Path, options: dict, default: str) -> list[tuple[str, str]]:
    """Return (folder, split) pairs; the root itself, as one split, if it has no split folder."""
    wanted = wanted_splits(options)
    here = entries(root)[0]
    if any(name in SPLITS for name in here):
        if "split" in options:
            raise DatasetError(
                f"split is {options['split']!r}, but {root} has its own split folders; remove the "
                f"option, or use splits to take some of them."
            )
        return [(split, split) for split in wanted if split in here]
    return [(".", options.get("split", default))]


class ClassFolders:
    """Collect `<folder>/<class>/<image>` of one or more splits into a Listing's rows."""

    def __init__(self, root: Path, classes: Iterable[str] | None = None):
        self.root = root
        self.classes = None if classes is None else set(classes)  # None: every folder is a class
        self.ignored: list[str] = []
        self.images: list[tuple[str, str, str]] = []  # path, split, label

    def add_split(self, folder: str, split: str) -> None:
        """Add all class folders of `<root>/<folder>`, for example `train.X1` as train."""
        folders, files = entries(self.root / folder)
        self.ignored += [_join(folder, name) for name in files]
        for label in folders:
            if self.classes is None or label in self.classes:
                self.add_class(_join(folder, label), split, label)

    def add_class(self, folder: str, split: str, label: str) -> None:
        """Add the images that lie directly in `<root>/<folder>`; an empty folder is an error."""
        folders, files = entries(self.root / folder)
        images = [name for name in files if is_image_name(name)]
        if not images:
            raise DatasetError(
                f"{self.root / folder} holds no image (of {', '.join(sorted(EXTENSIONS))}), but "
                f"a class folder must. Fill the folder or remove it."
            )
        taken = set(images)
        self.ignored += [_join(folder, n) for n in folders + files if n not in taken]
        self.images += [(_join(folder, name), split, label) for name in images]

    def rows(self) -> pd.DataFrame:
        """Return the columns path, split, label, word (empty)."""
        return rows_of(*zip(*self.images, strict=True)) if self.images else rows_of([], [], [])


def _join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def require(root: Path, *names: str) -> None:
    """Raise DatasetError naming the files or folders of `names` that `root` lacks."""
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        raise DatasetError(
            f"{root} lacks {', '.join(missing)}; it holds {contents(root)}. "
            f"Point `root` of the data set at the folder that holds them."
        )


def contents(root: Path) -> str:
    """Return a short list of the names in a folder, for messages."""
    if not root.is_dir():
        return "nothing: the folder does not exist"
    return some(sorted(entry.name for entry in root.iterdir())) or "nothing"


def some(names: Iterable[str], n: int = 5) -> str:
    """Return the first `n` names as text, with the number of all if there are more."""
    names = list(names)
    rest = f", … ({len(names)} in all)" if len(names) > n else ""
    return ", ".join(map(str, names[:n])) + rest


def compare_with_disk(root: Path, listed: Iterable[str], source: str) -> list[str]:
    """Return files next to the listed images; raise DatasetError if one is missing or repeated.

    Args:
        listed: posix paths relative to root, none of which may leave it, from the file `source`.
    """
    listed = list(listed)
    outside = [path for path in listed if not is_inside(path)]
    if outside:
        raise DatasetError(
            f"{source} lists paths outside {root}: {some(outside)} (image "
            f"{first_outside(listed) + 1} of the list). A path is relative to that folder and has "
            f"no `..`; correct the list, or do not use it if it is not yours."
        )
    if len(set(listed)) != len(listed):
        twice = [path for path, n in Counter(listed).items() if n > 1]
        raise DatasetError(f"{source} lists images twice: {some(twice)}. Remove the second rows.")
    on_disk: set[str] = set()
    for folder in {path.rpartition("/")[0] for path in listed}:
        if (root / folder).is_dir():
            on_disk.update(_join(folder or ".", name) for name in entries(root / folder)[1])
    missing = [path for path in listed if path not in on_disk]
    if missing:
        raise DatasetError(
            f"{len(missing)} of the {len(listed)} images that {source} lists are missing from "
            f"{root}: {some(missing)}. Unpack the archive again; a part of the set is not the set."
        )
    return sorted(on_disk - set(listed) - {source})

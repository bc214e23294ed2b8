"""What a loader hands over, and the folder walks that all loaders share.

Serves every data set of the paper; the layouts themselves are in the loaders' modules.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from clip_sae.datasets.images import EXTENSIONS
from clip_sae.datasets.inside import first_outside, is_inside

SPLITS = ("train", "val", "test")


class DatasetError(ValueError):
    """A data set that is not what its kind says; the message names what is missing."""


@dataclass
class Listing:
    """Images as found on disk, before any was opened.

    rows: path (posix, relative to the root), split, label, word, attr_<name> (0/1).
    labels: class ids in the order of label_idx. names: prompt name of each label.
    published: key into `counts.OFFICIAL`, or None. groups: published group of each row.
    ignored: files and folders beside the images, relative to the root.
    """

    rows: pd.DataFrame
    labels: list[str]
    names: dict[str, str]
    names_from: str = "labels"
    published: str | None = None
    groups: pd.Series | None = None
    ignored: list[str] = field(default_factory=list)


def plain_name(label: str) -> str:
    """The label as a prompt name: underscores are spaces, nothing else changes."""
    return label.replace("_", " ")


def wanted_splits(options: dict) -> tuple[str, ...]:
    """The splits that the option `splits` asks for; all of them if it is not given."""
    splits = options.get("splits")
    if splits is None:
        return SPLITS
    unknown = [split for split in splits if split not in SPLITS]
    if unknown or not splits or isinstance(splits, str):
        raise DatasetError(f"splits is {splits!r}; it must be a list out of {', '.join(SPLITS)}.")
    return tuple(splits)


def entries(folder: Path) -> tuple[list[str], list[str]]:
    """Names of (subfolders, files) of a folder, each sorted; hidden ones are files."""
    folders, files = [], []
    with os.scandir(folder) as found:  # unlike iterdir, asks the disk nothing per file
        for entry in found:
            is_folder = entry.is_dir() and not entry.name.startswith(".")
            (folders if is_folder else files).append(entry.name)
    return sorted(folders), sorted(files)


def is_image_name(name: str) -> bool:
    """Whether the name ends as an image's does; hidden files (`._x.jpg`) never do."""
    return Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")


class ClassFolders:
    """Collects `<folder>/<class>/<image>` of one or more splits into a Listing's rows."""

    def __init__(self, root: Path, classes: Iterable[str] | None = None):
        self.root = root
        self.classes = None if classes is None else set(classes)  # None: every folder is a class
        self.ignored: list[str] = []
        self._rows: list[tuple[str, str, str]] = []

    def add_split(self, folder: str, split: str) -> None:
        """Take in all class folders of `<root>/<folder>`, for example `train.X1` as train."""
        folders, files = entries(self.root / folder)
        self.ignored += [_join(folder, name) for name in files]
        for label in folders:
            if self.classes is None or label in self.classes:
                self.add_class(_join(folder, label), split, label)

    def add_class(self, folder: str, split: str, label: str) -> None:
        """Take in the images that lie directly in `<root>/<folder>`; an empty one is an error."""
        folders, files = entries(self.root / folder)
        images = [name for name in files if is_image_name(name)]
        if not images:
            raise DatasetError(
                f"{self.root / folder} holds no image (of {', '.join(sorted(EXTENSIONS))}), but "
                f"a class folder must. Fill the folder or remove it."
            )
        taken = set(images)
        self.ignored += [_join(folder, n) for n in folders + files if n not in taken]
        self._rows += [(_join(folder, name), split, label) for name in images]

    @property
    def n_images(self) -> int:
        """Images taken in so far."""
        return len(self._rows)

    def rows(self) -> pd.DataFrame:
        """Columns path, split, label, word (empty)."""
        return pd.DataFrame(self._rows, columns=["path", "split", "label"]).assign(word="")


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
    """A short list of what lies in a folder, for messages."""
    if not root.is_dir():
        return "nothing: the folder does not exist"
    return some(sorted(entry.name for entry in root.iterdir())) or "nothing"


def some(names: Iterable[str], n: int = 5) -> str:
    """The first `n` names and how many there are in all."""
    names = list(names)
    rest = f", … ({len(names)} in all)" if len(names) > n else ""
    return ", ".join(map(str, names[:n])) + rest


def compare_with_disk(root: Path, listed: Iterable[str], source: str) -> list[str]:
    """Files beside the listed images; raises if a listed image is not on disk or listed twice.

    listed: posix paths relative to root, none of which may escape it, from the file `source`.
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
        twice = pd.Series(listed)[pd.Series(listed).duplicated()]
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

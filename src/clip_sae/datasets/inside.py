"""Paths of images stay below the folder of their data set, whoever wrote the list that names them.

Data sets are passed on with lists of their files (metadata.csv, JSON of splits), and results
folders with manifests: a row such as `../../.ssh/id_rsa` would make a stranger's list choose which
of this machine's files are opened, and, for attacked copies, where files are written.

Symbolic links are another matter. They are made by whoever keeps the data, and laboratories link
data roots and class folders to shared disks, so links may lead anywhere; how many images lie beyond
one is written into the summary of the data set.
"""

import os
from collections.abc import Sequence
from pathlib import Path


def is_inside(path: object) -> bool:
    """Whether a posix path, relative to the data's folder, names something below it."""
    if not isinstance(path, str) or not path or "\0" in path or path.startswith("/"):
        return False
    return ".." not in path or ".." not in path.split("/")  # the first asks much faster


def first_outside(paths: Sequence[object]) -> int | None:
    """Position of the first path that does not name something below the folder; None if all do."""
    return next((i for i, path in enumerate(paths) if not is_inside(path)), None)


def linked_outside(root: Path, paths: Sequence[str]) -> list[str]:
    """The paths whose files lie outside `root` because a folder or a file is a symbolic link.

    A root that is itself a link is the data's folder wherever it lies.
    """
    home = os.path.join(os.path.realpath(root), "")
    folders: dict[str, str] = {}
    found = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder not in folders:  # a folder holds thousands of images, so ask once
            folders[folder] = os.path.join(os.path.realpath(os.path.join(root, folder)), "")
        place = os.path.join(folders[folder], name)
        real = os.path.realpath(place) if os.path.islink(place) else place
        if not real.startswith(home):
            found.append(path)
    return found

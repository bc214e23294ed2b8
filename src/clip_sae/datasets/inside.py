"""Check that the paths of images stay below their data set's folder, for lists by any author.

Data sets come with lists of their files (metadata.csv, JSON of splits), and results folders with
manifests. With a row such as `../../.ssh/id_rsa`, a stranger's list could choose which files of
this machine are opened and, for attacked copies, where files are written.

Symbolic links may lead anywhere: the keeper of the data makes them, and laboratories link data
roots and class folders to shared disks. The summary of the data set counts the images behind links.
"""

import os
from collections.abc import Sequence
from pathlib import Path


def is_inside(path: object) -> bool:
    """Return True if a posix path, relative to the data's folder, names a file below it."""
    if not isinstance(path, str) or not path or "\0" in path or path.startswith("/"):
        return False
    return ".." not in path or ".." not in path.split("/")  # the first test is much faster


def first_outside(paths: Sequence[object]) -> int | None:
    """Return the position of the first path that leaves the folder; None if all stay below it."""
    return next((i for i, path in enumerate(paths) if not is_inside(path)), None)


def linked_outside(root: Path, paths: Sequence[str]) -> list[str]:
    """Return the paths whose files lie outside `root` behind a symbolic link.

    A root that is itself a link counts as the folder that it leads to.
    """
    home = os.path.join(os.path.realpath(root), "")
    folders: dict[str, str] = {}
    found = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder not in folders:  # once per folder, which holds thousands of images
            folders[folder] = os.path.join(os.path.realpath(os.path.join(root, folder)), "")
        file = os.path.join(folders[folder], name)
        real = os.path.realpath(file) if os.path.islink(file) else file
        if not real.startswith(home):
            found.append(path)
    return found

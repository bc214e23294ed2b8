"""Delete a store once all its readers are made, so that a kill never leaves half a store.

`activations.temporary`: a full-size store takes 98 GB a layer. A later run extracts it again when a
stale output reads it. Standard library only.
"""

import shutil
from pathlib import Path

from clip_sae.planning.artefacts import COMPLETE

ASIDE = ".dropping"


def size_of(path: Path) -> int:
    """Return the bytes in a file or in all files of a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def is_on_disk(folder: Path) -> bool:
    """Return True if a store exists, or leftovers of a killed deletion."""
    return folder.exists() or _aside(folder).exists()


def drop_store(folder: Path) -> int:
    """Delete a store's folder, whole, damaged or absent; return the bytes freed.

    COMPLETE.json goes first, and the folder is renamed before its files are deleted: leftovers of a
    kill never pass for a store, and the next call removes them.
    """
    aside = _aside(folder)
    freed = 0
    if aside.exists():
        freed += _remove(aside)
    if folder.exists():
        (folder / COMPLETE).unlink(missing_ok=True)
        folder.rename(aside)
        freed += _remove(aside)
    return freed


def _aside(folder: Path) -> Path:
    return folder.with_name(folder.name + ASIDE)


def _remove(folder: Path) -> int:
    size = size_of(folder)
    shutil.rmtree(folder)
    return size


def marker_of(store: str, results: str) -> str:
    """Return the path of a deletion's record, given the path of the store's COMPLETE.json.

    It lies outside the store's folder and repeats its digest: {results}/dropped/….json.
    """
    below = Path(store).parent.relative_to(Path(results) / "activations")
    return f"{results}/dropped/{below}.json"


def store_of(marker: Path) -> Path:
    """Return the folder of the store whose deletion `marker` records."""
    parts = list(marker.with_suffix("").parts)
    at = len(parts) - 1 - parts[::-1].index("dropped")
    return Path(*parts[:at], "activations", *parts[at + 1 :])


def dropped_below(path: Path) -> list[Path]:
    """Return the records of deleted stores whose folders were at or below `path`."""
    parts = path.parts
    if "activations" not in parts:
        below = [path / "dropped"]
    else:
        at = len(parts) - 1 - parts[::-1].index("activations")
        mirror = Path(*parts[:at], "dropped", *parts[at + 1 :])
        below = [mirror, mirror.with_name(mirror.name + ".json")]
    found = {file for root in below for file in [root, *root.rglob("*.json")] if file.is_file()}
    return sorted(found)

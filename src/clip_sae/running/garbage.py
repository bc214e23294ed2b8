"""Find and remove artefacts that no config needs any more, and delete stores after use.

Every expensive artefact has its own folder, named by a digest of its spec. An edit of the config
keeps the old ones, so that going back costs nothing, until they are collected.
"""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clip_sae.planning.artefacts import COMPLETE
from clip_sae.planning.dropping import drop_store, size_of
from clip_sae.planning.specs import write_json

# Folders below which digests name folders, and at which depth: saes/<recipe>/<layer>/<…-digest>.
FOLDERS = {
    "world": 1,
    "datasets": 1,
    "fingerprints": 1,
    "activations": 3,
    "saes": 3,
    "adaptation": 2,
    "defence_prefix": 1,
}
# Folders below which digests name files, or folders with a COMPLETE.json; `dropped` holds records
# of deleted stores.
MIXED = ("measurements", "vocabulary", "dropped")


@dataclass(frozen=True)
class Orphan:
    """A folder or file that no config needs; `size` in bytes."""

    path: Path
    size: int

    def remove(self) -> None:
        if self.path.is_dir():
            # COMPLETE.json goes first: a half-removed store never passes for a whole one.
            (self.path / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(self.path)
        else:
            self.path.unlink()


def find_orphans(results: Path, needed: Iterable[str]) -> list[Orphan]:
    """Return files and folders below `results` that are not in `needed`, biggest first.

    Args:
        needed: paths of all artefacts that a config still needs, as the workflow names them.
    """
    needed = {Path(path) for path in needed}
    keep_folders = {path.parent for path in needed if path.name == COMPLETE}
    keep_files = needed | {path.with_name(path.name + ".spec.json") for path in needed}
    found = [path for path in _digest_folders(results) if path not in keep_folders]
    found += [
        path
        for path in _digest_files(results)
        # the next run continues from the files of a stopped job in a needed folder
        if path not in keep_files and keep_folders.isdisjoint((path, *path.parents))
    ]
    return sorted((Orphan(path, size_of(path)) for path in found), key=lambda o: -o.size)


def _digest_folders(results: Path) -> Iterator[Path]:
    for name, depth in FOLDERS.items():
        yield from (p for p in (results / name).glob("/".join(["*"] * depth)) if p.is_dir())


def _digest_files(results: Path) -> Iterator[Path]:
    """Yield files named by a digest, and complete folders."""
    for name in MIXED:
        folders = {mark.parent for mark in (results / name).rglob(COMPLETE)}
        yield from folders
        files = (p for p in (results / name).rglob("*") if p.is_file())
        yield from (p for p in files if folders.isdisjoint(p.parents))


def drop(job, *, store: str) -> None:
    """Delete a store all of whose readers are made; the marker records the bytes freed."""
    freed = drop_store(Path(store))
    write_json(job.output.path, {"store": store, "bytes_freed": freed})
    job.log.info("%s is deleted: %.1f MB are free", store, freed / 1e6)

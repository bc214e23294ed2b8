"""Write an activation store: one or many processes fill its ranges, then one completes it.

Holds the residuals that the paper's SAEs are trained and evaluated on (§3; Tables 3 and 4).
"""

import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .errors import StoreDamaged, StoreError, StoreIncomplete, StoreMismatch
from .files import (
    ACTS,
    COMPLETE,
    SPEC,
    canonical_json,
    differing_keys,
    digest,
    read_json,
    sealed,
    write_whole,
)
from .hierarchy import (
    clear_temporary,
    create_hierarchy,
    damaged_metadata,
    read_attributes,
    read_hierarchy,
    read_source_index,
    restore_hierarchy,
)
from .layout import StoreLayout
from .parts import (
    as_spans,
    finished_ranges,
    is_finished,
    merge_stats,
    part_nbytes,
    part_path,
    parts_bytes,
    read_part,
    withdraw,
)
from .range_writer import RangeWriter
from .shard_file import shard_reader
from .verify import check_range


class StoreWriter:
    """Creates the store at `path`, or reopens it and checks that it is the same one.

    layout: sizes, dtype, chunks and shards
    spec: all that decides the values; its canonical JSON is spec.json and never changes
    source_index: int64 [image], the manifest row of every store row (the permutation)
    attributes: provenance for the Zarr group (software, device, ...); not compared
    fingerprints: content of the inputs (manifest, weights); compared, so that a store that was
        started with other inputs is not continued
    rebuild: if layout, source_index or fingerprints differ, delete the store and begin again; only
        for one process, before others write ranges

    Separate processes may write distinct ranges. After a kill at any point a rerun writes only the
    unfinished ranges, with the same bytes. Damaged metadata are rewritten if the fingerprints prove
    that the ranges have the same inputs; a range whose checksums then disagree is redone.
    Raises StoreMismatch and names what differs.
    """

    def __init__(
        self,
        path: Path,
        layout: StoreLayout,
        *,
        spec: dict,
        source_index: np.ndarray,
        attributes: dict | None = None,
        fingerprints: dict[str, str] | None = None,
        rebuild: bool = False,
    ) -> None:
        self.path, self.layout = Path(path), layout
        self.spec = json.loads(canonical_json(spec))  # as a reader finds it: lists, no tuples
        self.spec_digest = digest(canonical_json(spec))
        self.source_index = _checked_source_index(source_index, layout.n_images)
        self.fingerprints = fingerprints
        # One pool for all ranges: Python waits for ever for a thread that cannot start for lack of
        # memory, so the threads start early and not again for each range.
        self._pool = ThreadPoolExecutor(2, "store-writer")
        self._sweep_removed()
        self._open_spec()
        if (self.path / ACTS).exists():
            self._restore(attributes or {})
        if (self.path / ACTS).exists() and rebuild and self._difference():
            self._remove()
            self._open_spec()
        if not (self.path / ACTS).exists():
            self._create(attributes or {})
        if difference := self._difference():
            raise StoreMismatch(
                f"{self.path} was started with another {difference}. Restore it, or delete that "
                "folder and run snakemake again."
            )
        self.fingerprints = read_hierarchy(self.path)[1].get("fingerprints") or {}

    @property
    def label(self) -> str:
        """Name of the store in messages: hook and layer, if the spec has them, and the path."""
        which = [f"{key} {self.spec[key]}" for key in ("layer", "hook") if key in self.spec]
        return f"{', '.join(which)} in {self.path}" if which else str(self.path)

    def finished(self, k: int) -> bool:
        """Return True if range `k` is on disk, with shard files of the right size."""
        return is_finished(self.path, self.layout, k, self.spec_digest)

    def unfinished(self) -> list[int]:
        """Return the ranges that are still to be written."""
        done = {*finished_ranges(self.path, self.layout, self.spec_digest)}
        return [k for k in range(self.layout.n_ranges) if k not in done]

    def forget_damaged(self) -> list[int]:
        """Read every chunk of the finished ranges and declare damaged ranges unfinished.

        For ranges that other processes wrote, perhaps on other machines. Returns their numbers.
        """
        done = finished_ranges(self.path, self.layout, self.spec_digest)
        damaged = [k for k in done if check_range(self.path, self.layout, k, self.spec_digest)[0]]
        for k in damaged:
            withdraw(self.path, k)
        return damaged

    @contextmanager
    def range(self, k: int) -> Iterator[RangeWriter]:
        """Write range `k`: committed at the end of the `with` statement, discarded on an error."""
        writer = RangeWriter(self, k, self._pool)
        try:
            yield writer
            writer.commit()
        finally:
            writer.discard()

    def complete(self) -> None:
        """Check that every range is written and write COMPLETE.json, last of all."""
        if missing := self.unfinished():
            raise StoreIncomplete(
                f"{self.label}: {self.layout.n_ranges - len(missing)} of {self.layout.n_ranges} "
                f"ranges are written; missing: {as_spans(missing)}. Run snakemake again."
            )
        self._check_one_chunk_per_file()
        ranges = range(self.layout.n_ranges)
        parts = [read_part(self.path, self.layout, k, self.spec_digest) for k in ranges]
        stats = merge_stats(parts)
        document = {
            "store_version": self.layout.version,
            "spec": self.spec,
            "spec_digest": self.spec_digest,
            "fingerprints": self.fingerprints,
            "n_images": self.layout.n_images,
            "n_ranges": self.layout.n_ranges,
            "nbytes": sum(map(part_nbytes, parts)),
            "parts_sha256": digest(parts_bytes(self.path, self.layout)),
            "stats": {name: sums.to_dict() for name, sums in stats.items()},
            "extra": {},
        }
        write_whole(self.path, self.path / COMPLETE, canonical_json(sealed(document)))
        clear_temporary(self.path)

    def _check_one_chunk_per_file(self) -> None:
        """Check one chunk of every file, which is cheap; `verify_store` reads them all."""
        for array in self.layout.arrays.values():
            whole = np.empty((array.chunk_images, *array.row_shape), array.disk_dtype)
            for k in range(self.layout.n_ranges):
                shard_reader(self.path, array, k).read_chunk(k % array.shard_chunks(k), whole)

    def _open_spec(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        spec_path = self.path / SPEC
        if not spec_path.exists():
            write_whole(self.path, spec_path, canonical_json(self.spec))
        found = read_json(spec_path)
        if found != self.spec:
            keys = differing_keys(found, self.spec)
            raise StoreMismatch(
                f"{spec_path} differs from this run's spec in {', '.join(keys)}. A store never "
                "changes its spec: give this run its own folder, or delete that one."
            )

    def _create(self, attributes: dict) -> None:
        free = shutil.disk_usage(self.path).free
        if free < self.layout.nbytes:
            raise StoreError(
                f"{self.label} needs {self.layout.nbytes / 1e9:.1f} GB; {free / 1e9:.1f} GB are "
                "free there. Make room, store fewer layers or images, or move the results root."
            )
        ours = {
            "store_version": self.layout.version,
            "spec_sha256": self.spec_digest,
            "spec": self.spec,
            "fingerprints": self.fingerprints,
        }
        create_hierarchy(self.path, self.layout, attributes | ours, self.source_index)

    def _restore(self, attributes: dict) -> None:
        """Rewrite damaged metadata: layout, spec and source_index are known here.

        Without equal fingerprints nothing proves that the ranges hold the same images, so damage
        stays and the comparison that follows raises it.
        """
        try:
            begun_with = read_attributes(self.path).get("fingerprints")
        except StoreDamaged as error:
            raise StoreDamaged(
                f"{error} Run `python -m clip_sae verify --repair` on {self.path}: it restores "
                f"that file from {COMPLETE}. Where there is none, delete the folder and run "
                "snakemake again."
            ) from None
        if not begun_with or begun_with != self.fingerprints:
            return
        if damaged_metadata(self.path, self.layout.n_images) is None:
            return
        restore_hierarchy(self.path, self.layout, attributes, self.source_index)
        for k in range(self.layout.n_ranges):
            begun = part_path(self.path, k).exists()
            if begun and check_range(self.path, self.layout, k, self.spec_digest)[0]:
                withdraw(self.path, k)

    def _difference(self) -> str:
        """Return a phrase that says how the store on disk differs, or an empty one."""
        begun_with = read_attributes(self.path).get("fingerprints")
        if None not in (begun_with, self.fingerprints) and begun_with != self.fingerprints:
            keys = differing_keys(begun_with, self.fingerprints)
            return f"content of its inputs (fingerprints of {', '.join(keys)})"
        layout, _ = read_hierarchy(self.path)
        if layout != self.layout:
            return f"layout ({layout}; now {self.layout})"
        if not np.array_equal(read_source_index(self.path, layout.n_images), self.source_index):
            return "list or order of images (source_index)"
        return ""

    def _remove(self) -> None:
        """Rename the store, so that it vanishes at once, then delete it."""
        os.rename(self.path, self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.old"))
        self._sweep_removed()

    def _sweep_removed(self) -> None:
        """Delete renamed stores, also those of a run that died while it deleted them."""
        for aside in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.old"):
            shutil.rmtree(aside, ignore_errors=True)  # another process may delete it too


def _checked_source_index(source_index: np.ndarray, n_images: int) -> np.ndarray:
    index = np.asarray(source_index)
    if index.shape != (n_images,) or index.dtype.kind not in "iu" or (index < 0).any():
        raise StoreError(
            f"source_index is {index.dtype} {list(index.shape)}; it must hold the manifest row "
            f"(an int, 0 or more) of each of the {n_images} images."
        )
    return index.astype(np.int64)

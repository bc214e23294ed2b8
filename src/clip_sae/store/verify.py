"""Checking a store on disk down to every chunk, and clearing damaged ranges for a repair.

No equation of its own: it guards the residuals behind every number of the paper.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import StoreDamaged, StoreError
from .files import ACTS, COMPLETE, SPEC, canonical_json, digest, read_json
from .hierarchy import read_hierarchy, read_source_index
from .layout import ArrayLayout, StoreLayout
from .parts import as_spans, part_path, parts_bytes, read_part
from .shard_file import ShardReader


@dataclass(frozen=True)
class Damage:
    """One fault. range: None if it concerns the whole store; chunk: within the range's file."""

    file: Path
    problem: str
    range: int | None = None
    chunk: int | None = None
    images: str = ""

    def __str__(self) -> str:
        where = [f"range {self.range}"] if self.range is not None else []
        where += [f"chunk {self.chunk}"] if self.chunk is not None else []
        where += [self.images] if self.images else []
        place = f" ({', '.join(where)})" if where else ""
        return f"{self.file}{place}: {self.problem}"


@dataclass
class VerifyReport:
    """What a check found. `ok`: no damage; an unfinished store can be ok and not complete."""

    path: Path
    n_ranges: int = 0
    complete: bool = False
    unfinished: list[int] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    repaired: list[int] = field(default_factory=list)
    bytes_read: int = 0

    @property
    def ok(self) -> bool:
        return not self.damages

    def __str__(self) -> str:
        state = "complete" if self.complete else f"unfinished: {as_spans(self.unfinished)}"
        lines = [
            f"{self.path}: {self.n_ranges} ranges ({state}), {self.bytes_read / 1e9:.2f} GB "
            f"checked, {len(self.damages)} damaged places"
        ]
        lines += [f"  {damage}" for damage in self.damages]
        if self.repaired:
            lines.append(
                f"  ranges {as_spans(self.repaired)} are cleared; run snakemake again to redo them"
            )
        return "\n".join(lines)


def verify_store(path: Path, *, full: bool = True, repair: bool = False) -> VerifyReport:
    """Check part files, sizes and indices, and with `full` the crc32c of every chunk.

    repair: forget the damaged ranges (their part files, and COMPLETE.json), so that the next run
    writes just those again. Damage to the metadata cannot be repaired so: delete the store then.
    """
    store = Path(path)
    if not (store / SPEC).exists():
        raise StoreError(f"{store} holds no activation store: there is no {SPEC}.")
    report = VerifyReport(store, complete=(store / COMPLETE).exists())
    try:
        spec_digest = digest(canonical_json(read_json(store / SPEC)))
        layout, attributes = read_hierarchy(store)
        if attributes.get("spec_sha256") != spec_digest:
            raise StoreDamaged(f"{store / SPEC} does not match {store / ACTS / 'zarr.json'}.")
        read_source_index(store, layout.n_images)
    except StoreDamaged as error:
        report.damages.append(Damage(store, f"{error} Delete the store and run snakemake again."))
        return report
    report.n_ranges = layout.n_ranges
    for k in range(layout.n_ranges):
        if part_path(store, k).exists() or report.complete:
            _check_range(store, layout, k, spec_digest, full, report)
        else:
            report.unfinished.append(k)
    if report.complete and not report.damages:
        _check_complete(store, layout, report)
    if repair and report.damages:
        _repair(store, report)
    return report


def _check_range(
    store: Path, layout: StoreLayout, k: int, spec_digest: str, full: bool, report: VerifyReport
) -> None:
    known: dict[str, list[int]] = {}
    try:
        part = read_part(store, layout, k, spec_digest)
        known = {entry["array"]: entry["chunk_crc32c"] for entry in part["files"]}
    except (StoreDamaged, KeyError, TypeError) as error:
        report.damages.append(Damage(part_path(store, k), str(error), k))
    for array in layout.arrays.values():
        _check_shard(store, array, k, known.get(array.name), full, report)


def _check_shard(
    store: Path,
    array: ArrayLayout,
    k: int,
    known: list[int] | None,
    full: bool,
    report: VerifyReport,
) -> None:
    """Index and size always; with `full` each chunk against its crc32c and the part file's."""
    file = store / ACTS / array.shard_file(k)

    def note(problem: str, chunk: int | None = None, images: str = "") -> None:
        report.damages.append(Damage(file, problem, k, chunk, images))

    try:
        shard = ShardReader(store, array, k)
    except StoreDamaged as error:
        note(error.problem, images=error.images)
        return
    if not full:
        return
    whole = np.empty((array.chunk_images, *array.row_shape), array.disk_dtype)
    for chunk in range(array.shard_chunks(k)):
        report.bytes_read += array.chunk_bytes
        try:
            crc = shard.read_chunk(chunk, whole)
        except StoreDamaged as error:
            note(error.problem, chunk, error.images)
            continue
        if known is not None and known[chunk : chunk + 1] != [crc]:
            note("is whole, but not the chunk that the part file records", chunk)


def _check_complete(store: Path, layout: StoreLayout, report: VerifyReport) -> None:
    try:
        found = read_json(store / COMPLETE).get("parts_sha256")
    except StoreDamaged as error:
        report.damages.append(Damage(store / COMPLETE, str(error)))
        return
    if found != digest(parts_bytes(store, layout)):
        report.damages.append(Damage(store / COMPLETE, "does not match the part files"))


def _repair(store: Path, report: VerifyReport) -> None:
    (store / COMPLETE).unlink(missing_ok=True)
    report.repaired = sorted({d.range for d in report.damages if d.range is not None})
    for k in report.repaired:
        part_path(store, k).unlink(missing_ok=True)

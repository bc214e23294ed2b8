"""Check a store on disk down to every chunk, and clear damaged ranges for a repair."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import StoreDamaged, StoreError
from .files import ACTS, COMPLETE, SPEC, canonical_json, check_seal, digest, read_json
from .hierarchy import GROUP, read_attributes, read_hierarchy, read_source_index, write_group
from .layout import ALIGNMENTS, ArrayLayout, StoreLayout
from .parts import as_spans, part_path, parts_bytes, read_part, withdraw
from .shard_file import shard_reader

DELETE = "Delete the store and run snakemake again."


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
    """The result of a check. `ok`: no damage; an unfinished store can be ok and not complete.

    repaired: ranges that were cleared; restored: metadata files that were rewritten
    advice: what to do about damage outside the ranges
    """

    path: Path
    n_ranges: int = 0
    complete: bool = False
    unfinished: list[int] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    repaired: list[int] = field(default_factory=list)
    restored: list[Path] = field(default_factory=list)
    advice: str = ""
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
        lines += [f"  {path} is written again from {COMPLETE}" for path in self.restored]
        if self.repaired:
            lines.append(
                f"  ranges {as_spans(self.repaired)} are cleared; run snakemake again to redo them"
            )
        lines += [f"  {self.advice}"] if self.advice else []
        return "\n".join(lines)


def verify_store(path: Path, *, full: bool = True, repair: bool = False) -> VerifyReport:
    """Check part files, sizes and indices, and with `full` the crc32c of every chunk.

    repair: delete the part files of damaged ranges, and COMPLETE.json, so that the next run writes
        just those ranges again. That run also rewrites damaged metadata of the arrays and a damaged
        source_index; the group's own metadata are restored here, from COMPLETE.json.
    """
    store = Path(path)
    if not (store / SPEC).exists():
        raise StoreError(f"{store} holds no activation store: there is no {SPEC}.")
    report = VerifyReport(store, complete=(store / COMPLETE).exists())
    try:
        spec_digest = digest(canonical_json(read_json(store / SPEC)))
    except StoreDamaged as error:
        report.damages.append(Damage(store / SPEC, str(error)))
        report.advice = DELETE
        return report
    if not _check_group(store, spec_digest, report, repair):
        return report
    try:
        layout, _ = read_hierarchy(store)
        read_source_index(store, layout.n_images)
    except StoreDamaged as error:
        _note_metadata(store, error, report, repair)
        return report
    report.n_ranges = layout.n_ranges
    for k in range(layout.n_ranges):
        if part_path(store, k).exists() or report.complete:
            damages, nbytes = check_range(store, layout, k, spec_digest, full=full)
            report.damages += damages
            report.bytes_read += nbytes
        else:
            report.unfinished.append(k)
    if report.complete and not any(damage.range is not None for damage in report.damages):
        _check_complete(store, layout, report)
    if repair:
        _repair(store, report)
    return report


def check_range(
    store: Path, layout: StoreLayout, k: int, spec_digest: str, *, full: bool = True
) -> tuple[list[Damage], int]:
    """Return all damage in part file and shards of range `k`, and the bytes read to find it.

    Checks index and size; with `full` also each chunk against its crc32c and the part file's.
    """
    damages: list[Damage] = []
    known: dict[str, list[int]] = {}
    try:
        part = read_part(store, layout, k, spec_digest)
        known = {entry["array"]: entry["chunk_crc32c"] for entry in part["files"]}
    except (StoreDamaged, KeyError, TypeError) as error:
        damages.append(Damage(part_path(store, k), str(error), k))
    arrays = layout.arrays.values()
    n = sum(_check_shard(store, array, k, known.get(array.name), full, damages) for array in arrays)
    return damages, n


def _check_shard(
    store: Path,
    array: ArrayLayout,
    k: int,
    known: list[int] | None,
    full: bool,
    damages: list[Damage],
) -> int:
    """Add the damage in one shard file to `damages`; return the bytes of activations read."""
    file = store / ACTS / array.shard_file(k)

    def note(problem: str, chunk: int | None = None, images: str = "") -> None:
        damages.append(Damage(file, problem, k, chunk, images))

    try:
        shard = shard_reader(store, array, k, known)
    except StoreDamaged as error:
        note(error.problem, images=error.images)
        return 0
    if not full:
        return 0
    whole = np.empty((array.chunk_images, *array.row_shape), array.disk_dtype)
    for chunk in range(array.shard_chunks(k)):
        try:
            shard.read_chunk(chunk, whole)
        except StoreDamaged as error:
            note(error.problem, chunk, error.images)
    return array.shard_chunks(k) * array.chunk_bytes


def _check_group(store: Path, spec_digest: str, report: VerifyReport, repair: bool) -> bool:
    """Return True if the group's own metadata have this spec, or were restored."""
    path = store / ACTS / GROUP
    try:
        document = read_json(store / COMPLETE)
        check_seal(store / COMPLETE, document)
        known = {key: document[key] for key in ("store_version", "spec", "fingerprints")}
        ours = digest(canonical_json(known["spec"])) == spec_digest
    except (StoreDamaged, KeyError):
        known, ours = {}, False
    try:
        attributes = read_attributes(store)
        version = attributes.get("store_version")
        specs = attributes["spec_sha256"], digest(canonical_json(attributes.get("spec")))
        right_version = version == known["store_version"] if ours else version in ALIGNMENTS
        if specs == (spec_digest, spec_digest) and right_version:
            return True
        problem = f"{store / SPEC} does not match it"
        if specs == (spec_digest, spec_digest):
            problem = f"has store_version {version!r}"
    except StoreDamaged as error:
        problem = str(error)
    report.damages.append(Damage(path, problem))
    if not ours:  # the inputs of the ranges are unknown
        report.advice = DELETE
    elif repair:
        write_group(store, known | {"spec_sha256": spec_digest})
        report.restored.append(path)
    else:
        report.advice = "`--repair` writes it again."
    return bool(report.restored)


def _note_metadata(store: Path, error: StoreDamaged, report: VerifyReport, repair: bool) -> None:
    """Report damaged metadata; the writer restores it once COMPLETE.json is deleted."""
    report.damages.append(Damage(store, str(error)))
    fingerprints = read_attributes(store).get("fingerprints")
    if not fingerprints:
        report.advice = DELETE  # nothing proves that the ranges hold the writer's images
    elif repair:
        (store / COMPLETE).unlink(missing_ok=True)
        report.advice = (
            "Run snakemake again: it writes the metadata again and keeps every range whose "
            "checksums match its part file."
        )
    else:
        report.advice = "`--repair` lets the next run write it again and keep the ranges."


def _check_complete(store: Path, layout: StoreLayout, report: VerifyReport) -> None:
    try:
        document = read_json(store / COMPLETE)
        check_seal(store / COMPLETE, document)
        found = document.get("parts_sha256")
    except StoreDamaged as error:
        report.damages.append(Damage(store / COMPLETE, str(error)))
        return
    if found != digest(parts_bytes(store, layout)):
        report.damages.append(Damage(store / COMPLETE, "does not match the part files"))


def _repair(store: Path, report: VerifyReport) -> None:
    if any(damage.file not in report.restored for damage in report.damages):
        (store / COMPLETE).unlink(missing_ok=True)
    report.repaired = sorted({d.range for d in report.damages if d.range is not None})
    for k in report.repaired:
        withdraw(store, k)

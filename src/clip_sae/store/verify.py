"""Checking a store on disk down to every chunk, and clearing damaged ranges for a repair.

No equation of its own: it guards the residuals behind every number of the paper.
"""

from dataclasses import dataclass, field
from pathlib import Path

from .errors import StoreDamaged, StoreError
from .files import ACTS, COMPLETE, SPEC, canonical_json, check_seal, digest, read_json
from .hierarchy import GROUP, read_attributes, read_hierarchy, read_source_index, write_group
from .layout import ALIGNMENTS, StoreLayout
from .parts import as_spans, part_path, parts_bytes
from .range_check import Damage, check_range, forget_range

DELETE = "Delete the store and run snakemake again."


@dataclass
class VerifyReport:
    """What a check found. `ok`: no damage; an unfinished store can be ok and not complete.

    repaired: ranges that were cleared; restored: metadata files written again on the spot
    advice: what to do about damage that is of no range
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

    repair: forget the damaged ranges (their part files, and COMPLETE.json), so that the next run
        writes just those again. That run also writes damaged metadata of the arrays and a damaged
        source_index again; the group's own metadata are restored here, from COMPLETE.json.
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


def _check_group(store: Path, spec_digest: str, report: VerifyReport, repair: bool) -> bool:
    """Whether the group's own metadata are of this spec, or were restored so."""
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
        told = attributes["spec_sha256"], digest(canonical_json(attributes.get("spec")))
        right_version = version == known["store_version"] if ours else version in ALIGNMENTS
        if told == (spec_digest, spec_digest) and right_version:
            return True
        problem = f"{store / SPEC} does not match it"
        if told == (spec_digest, spec_digest):
            problem = f"has store_version {version!r}"
    except StoreDamaged as error:
        problem = str(error)
    report.damages.append(Damage(path, problem))
    if not ours:  # nothing says any more what the ranges were made from
        report.advice = DELETE
    elif repair:
        write_group(store, known | {"spec_sha256": spec_digest})
        report.restored.append(path)
    else:
        report.advice = "`--repair` writes it again."
    return bool(report.restored)


def _note_metadata(store: Path, error: StoreDamaged, report: VerifyReport, repair: bool) -> None:
    """Damage to what the writer knows: it mends it, once COMPLETE.json does not keep it away."""
    report.damages.append(Damage(store, str(error)))
    fingerprints = read_attributes(store).get("fingerprints")
    if not fingerprints:
        report.advice = DELETE  # the writer could not know that the ranges are of its images
    elif repair:
        (store / COMPLETE).unlink(missing_ok=True)
        report.advice = (
            "Run snakemake again: it writes the metadata again and keeps every range whose "
            "checksums are as its part file says."
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
        forget_range(store, k)

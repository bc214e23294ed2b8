"""Artefacts: files with a spec and upstream artefacts, and checks whether those on disk are stale.

Snakemake alone compares times and parameters kept in `.snakemake`; here every artefact records its
spec and the fingerprints of its data and weights, so that a stale file is detected after a failed
run, a lost `.snakemake` folder, or a copy without times. Standard library only.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clip_sae.planning.specs import digest, read_json, write_json

COMPLETE = "COMPLETE.json"


@dataclass(frozen=True)
class Artefact:
    """One file that a rule makes, with everything that decides its content.

    Attributes:
        path: the output that is written last; for a folder, its COMPLETE.json.
        stage: name of the stage, e.g. "extract".
        spec: config values and the version or code digest of the stage.
        upstream: artefacts that it is computed from.
        source: name of the external content that it fingerprints ("model:demo"), else None.
    """

    path: str
    stage: str
    spec: Mapping
    upstream: tuple["Artefact", ...] = ()
    source: str | None = None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        content = {
            "stage": self.stage,
            "spec": self.spec,
            "upstream": [artefact.digest for artefact in self.upstream],
        }
        object.__setattr__(self, "digest", digest(content))
        object.__setattr__(self, "path", self.path.replace("{digest}", self.digest))

    @property
    def folder(self) -> Path:
        return Path(self.path).parent

    @property
    def sidecar(self) -> Path:
        """Path of the record: the COMPLETE.json itself for a folder, else a file next to it."""
        path = Path(self.path)
        return path if path.name == COMPLETE else path.with_name(path.name + ".spec.json")

    @property
    def record(self) -> dict:
        """The recorded part of the spec; equal records mean equal content."""
        return {
            "stage": self.stage,
            "digest": self.digest,
            "spec": self.spec,
            "upstream": {artefact.path: artefact.digest for artefact in self.upstream},
        }

    def closure(self) -> Iterator["Artefact"]:
        """Yield this artefact and everything upstream of it, each once."""
        seen: dict[str, Artefact] = {}
        pending = [self]
        while pending:
            artefact = pending.pop()
            if artefact.path not in seen:
                seen[artefact.path] = artefact
                pending.extend(artefact.upstream)
                yield artefact

    def sources(self) -> list["Artefact"]:
        """The fingerprint artefacts in the closure, sorted by source."""
        found = [artefact for artefact in self.closure() if artefact.source]
        return sorted(found, key=lambda artefact: artefact.source or "")


TWO_STATES = "made from two states of this source"


def read_fingerprints(paths: Iterable[Path]) -> dict[str, str]:
    """Merge the fingerprints recorded in sidecars; {} for none.

    If two come from different content of one source (a data set was indexed again in the same run),
    its fingerprint is one that no content has, so the output is stale at once.

    Raises:
        ValueError: a sidecar is missing or not whole.
    """
    merged: dict[str, str] = {}
    for path in paths:
        record = read_json(path)
        if record is None or "fingerprints" not in record:
            raise ValueError(f"{path} is missing or not whole; run snakemake again to rebuild it.")
        for source, value in record["fingerprints"].items():
            if merged.setdefault(source, value) != value:
                merged[source] = TWO_STATES
    return merged


def write_sidecar(sidecar: Path, record: Mapping, fingerprints: Mapping, **facts: object) -> None:
    """Write an artefact's record, the fingerprints of its inputs, and facts about the run."""
    write_json(sidecar, {"spec": record, "fingerprints": dict(fingerprints), **facts})


def why_stale(artefact: Artefact, fingerprints: Mapping[str, str]) -> str | None:
    """Return why the artefact on disk is stale; None if it is up to date or missing.

    Args:
        fingerprints: {source: current fingerprint}; unknown sources (data not indexed yet) are not
            compared.
    """
    if not Path(artefact.path).exists():
        return None  # Snakemake itself detects a missing file
    record = read_json(artefact.sidecar)
    if record is None or not isinstance(record.get("spec"), dict):
        return f"{artefact.sidecar.name} is missing, so its inputs are unknown"
    if record["spec"].get("digest") != artefact.digest:
        return describe_change(record["spec"], artefact.record)
    recorded = record.get("fingerprints", {})
    for name in [source.source for source in artefact.sources()]:
        if name in fingerprints and recorded.get(name) != fingerprints[name]:
            return f"the content of {name} has changed"
    return None


def describe_change(old: Mapping, new: Mapping) -> str:
    """Return a short list of the differences between two records."""
    changed = sorted(_differing_keys(old.get("spec", {}), new.get("spec", {})))
    before, after = old.get("upstream", {}), new.get("upstream", {})
    if set(before.values()) != set(after.values()):
        changed.append("its inputs")
    return f"changed: {', '.join(changed) or 'stage'}"


def _differing_keys(old: object, new: object, prefix: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _differing_keys(old.get(key), new.get(key), f"{prefix}{key}.")
    elif old != new:
        yield prefix.rstrip(".")

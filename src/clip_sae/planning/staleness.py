"""Find the artefacts that are stale, missing or incomplete on disk.

Snakemake compares times; here specs, fingerprints and the files of a folder decide. No torch.
"""

from dataclasses import dataclass, field
from pathlib import Path

from clip_sae.planning.architecture import ModelSource
from clip_sae.planning.artefacts import COMPLETE, Artefact, why_stale
from clip_sae.planning.fingerprints import current_fingerprint
from clip_sae.planning.kinds import makers
from clip_sae.planning.plan import Plan
from clip_sae.planning.sources import FINGERPRINT
from clip_sae.planning.specs import read_json

STORES = ("extract", "extract_adapted")


def known_fingerprints(plan: Plan) -> dict[str, str]:
    """Return {source: current fingerprint of the external content}; unknown ones are absent."""
    found = {}
    for artefact in plan.artefacts:
        if artefact.source is None:
            continue
        if artefact.stage == FINGERPRINT.stage:
            source = ModelSource(artefact.spec["model"], artefact.spec["pretrained"])
            value = current_fingerprint(source, artefact.sidecar, artefact.source)
        else:
            record = read_json(artefact.sidecar) or {}
            value = record.get("fingerprints", {}).get(artefact.source)
        if value is not None:
            found[artefact.source] = value
    return found


def what_is_lost(artefact: Artefact) -> str | None:
    """Return a file that the artefact's record lists but that is gone; None if all exist.

    Checks names only; `python -m clip_sae verify` reads every byte.
    """
    path = Path(artefact.path)
    if path.name != COMPLETE or not path.exists():
        return None
    record = read_json(path)
    if record is None:
        return None  # `why_stale` reports it
    if artefact.stage in STORES:
        for name in ("spec.json", "acts.zarr/zarr.json"):
            if not (path.parent / name).exists():
                return name.partition("/")[0]
        parts = len(list((path.parent / "parts").glob("*.json")))
        return None if parts == record.get("n_ranges", parts) else "a file of parts"
    for name in record.get("holds") or _held(artefact):
        if not (path.parent / name).exists():
            return name
    return None


def _held(artefact: Artefact) -> tuple[str, ...]:
    """Return the files of a complete folder whose record is older than the list `holds`."""
    for maker in makers().values():
        if maker.rule is not None and maker.rule.stage == artefact.stage:
            return (maker.folder(artefact.spec),)
    return {
        "train": ("cfg.json", "sae_weights.safetensors"),
        "index": ("manifest.csv", "classes.csv"),
    }.get(artefact.stage, ())


@dataclass
class Staleness:
    """The stale, missing and incomplete artefacts of a plan.

    Attributes:
        stale: {path: reason} of existing artefacts that must be made again.
        lost: paths that are missing, or whose folder lacks files.
        missing: paths that do not exist, files next to artefacts among them.
    """

    fingerprints: dict[str, str]
    stale: dict[str, str] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, plan: Plan) -> "Staleness":
        """Check every artefact of the plan."""
        found = cls(known_fingerprints(plan))
        for artefact in plan.artefacts:
            found.check(artefact)
        for step in plan.steps.values():
            found.missing.update(p for p in plan.beside(step) if not Path(p).exists())
        return found

    def check(self, artefact: Artefact) -> None:
        """Check one artefact and note the result."""
        if not Path(artefact.path).exists():
            self.missing.add(artefact.path)
            self.lost.add(artefact.path)
            return
        reason = why_stale(artefact, self.fingerprints)
        if reason is None and (name := what_is_lost(artefact)):
            reason = f"{name} is gone from {Path(artefact.path).parent}"
            self.lost.add(artefact.path)
        if reason:
            self.stale[artefact.path] = reason

    def is_lost(self, artefact: Artefact) -> bool:
        """Return True if an artefact, which may be a part of a job, is missing or incomplete."""
        if artefact.stage == "part":
            return not Path(artefact.path).exists()
        return artefact.path in self.lost

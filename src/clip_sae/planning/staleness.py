"""Which artefacts on disk are out of date, missing or broken, and what each job then waits for.

Snakemake compares times; a spec, fingerprints and the files of a folder decide here. No torch.
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
    """Fingerprints of outside content as it is now, per source name; unknown ones are absent."""
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
    """Name a file that the artefact's record promises and that is gone; None if all are there.

    Only names are looked at. `python -m clip_sae verify` reads every byte.
    """
    path = Path(artefact.path)
    if path.name != COMPLETE or not path.exists():
        return None
    record = read_json(path)
    if record is None:
        return None  # `why_stale` has a sentence for it
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
    """What a whole folder holds, where its record was written before records listed it."""
    for maker in makers().values():
        if maker.rule is not None and maker.rule.stage == artefact.stage:
            return (maker.folder(artefact.spec),)
    return {
        "train": ("cfg.json", "sae_weights.safetensors"),
        "index": ("manifest.csv", "classes.csv"),
    }.get(artefact.stage, ())


@dataclass
class Staleness:
    """What is out of date, missing or broken among the artefacts of a plan.

    Attributes:
        stale: {path: reason} of what exists and must be made again.
        lost: paths that are missing, or whose folder lacks files.
        missing: paths that do not exist, files next to artefacts among them.
    """

    fingerprints: dict[str, str]
    stale: dict[str, str] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, plan: Plan) -> "Staleness":
        """Ask for every artefact of the plan."""
        found = cls(known_fingerprints(plan))
        for artefact in plan.artefacts:
            found.ask(artefact)
        for step in plan.steps.values():
            found.missing.update(p for p in plan.beside(step) if not Path(p).exists())
        return found

    def ask(self, artefact: Artefact) -> None:
        """Find out about one artefact."""
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
        """Whether an artefact is not there, or not whole. Parts of a job are asked for here."""
        if artefact.stage == "part":
            return not Path(artefact.path).exists()
        return artefact.path in self.lost

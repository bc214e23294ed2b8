"""What the workflow says of a config: its jobs, its stores, its targets, and what is missing.

Read from the plan alone; Snakemake is not started.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from clip_sae.planning.turns import closure, readers, will_run


@dataclass(frozen=True)
class WorkListing:
    """The work of a config, as `planning.jobs.work_listing` lists it.

    jobs: [{job, stage, makes, reads}] of all jobs but extractions; `job` names its benchmark, reads
        are all paths that the job needs. stores: [{path, dataset, split, hook, layer}].
    targets: {name: paths}.
    stale, missing: paths that are out of date, or not there.
    """

    jobs: list[Mapping]
    stores: list[Mapping]
    targets: Mapping[str, list[str]]
    stale: frozenset[str]
    missing: frozenset[str]

    @classmethod
    def from_dict(cls, content: Mapping) -> "WorkListing":
        """Read the listing."""
        return cls(
            content["jobs"],
            content["stores"],
            content["targets"],
            frozenset(content["stale"]),
            frozenset(content["missing"]),
        )

    @cached_property
    def upstream(self) -> dict[str, set[str]]:
        """{path: what its job reads}."""
        return {path: set(job["reads"]) for job in self.jobs for path in job["makes"]}

    def paths_of(self, target: str) -> list[str]:
        """The files of a target; `extended` has those of `adaptation` too, as in the Snakefile."""
        also = self.targets.get("adaptation", []) if target == "extended" else []
        return [*self.targets.get(target, []), *also]

    def needed(self, target: str) -> set[str]:
        """Everything behind a target."""
        return closure(self.upstream, self.paths_of(target))

    def to_make(self, target: str) -> set[str]:
        """What a run for `target` would make now."""
        paths = self.paths_of(target)
        return will_run(self.upstream, paths, self.stale, self.missing)

    def read_stores(self, among: set[str]) -> dict[str, list[str]]:
        """{store: what reads it, of what is in `among`}, for the stores that anything reads."""
        found = readers(self.upstream, [store["path"] for store in self.stores], among)
        return {store: paths for store, paths in found.items() if paths}

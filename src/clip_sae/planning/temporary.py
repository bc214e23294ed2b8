"""Stores that are deleted after use: the passes that extract them and the jobs that delete them.

Only with `activations.temporary` or `layers_at_once`. The outputs of a run depend on its targets,
and so do its passes: if only one output reads a deleted store, that store is extracted alone.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from clip_sae.planning.artefacts import Artefact
from clip_sae.planning.dropping import is_on_disk, marker_of
from clip_sae.planning.jobs import job_json, made_by_run, paths_of, upstream_of
from clip_sae.planning.plan import Plan
from clip_sae.planning.staleness import Staleness
from clip_sae.planning.steps import Rule, Step
from clip_sae.planning.stores import ExtractionJob, StoreKey
from clip_sae.planning.turns import closure, readers, turns

DROP = Rule("drop", "dropped/{store}.json", "clip_sae.running.garbage:drop", records=True)


@dataclass(frozen=True)
class Deletion:
    """One store that this run deletes.

    Attributes:
        name: of its rule; marker: the file that records the deletion.
        readers: outputs that must be made before; again: True if the store was deleted before.
        step: as JSON, for the job's process.
    """

    name: str
    marker: str
    readers: list[str]
    again: bool
    step: str


class Deletions:
    """The deletions and the extraction passes of a run for `targets`.

    Args:
        state: of the plan's artefacts; targets: names or paths of this run.
    """

    def __init__(self, plan: Plan, state: Staleness, targets: Sequence[str]) -> None:
        self.plan, self.state = plan, state
        self.upstream = upstream_of(plan)
        self.stores = {artefact.path: key for key, artefact in plan.stores.items()}
        self.needed = closure(self.upstream, paths_of(plan, targets))
        self.runs = made_by_run(plan, state, targets)
        self.readers = readers(self.upstream, self.stores, self.needed)

    @cached_property
    def wanted(self) -> set[str]:
        """Stores with a reader that this run makes."""
        return {path for path in self.stores if self.runs.intersection(self.readers[path])}

    # --- passes ---------------------------------------------------------------------------------

    @cached_property
    def turn_of(self) -> dict[StoreKey, int]:
        """{store: number of its turn within its split}; empty without `layers_at_once`."""
        at_once = self.plan.config["activations"]["layers_at_once"]
        if not at_once:
            return {}
        where = {
            path: ((key.dataset, key.split), key.layer)
            for path, key in self.stores.items()
            if self.readers[path]
        }
        cut = turns(where, self.upstream, self.needed, at_once)
        splits = [turn.split for turn in cut]
        return {
            key: index - splits.index(turn.split)
            for index, turn in enumerate(cut)
            for key in self.stores.values()
            if (key.dataset, key.split) == turn.split and key.layer in turn.layers
        }

    @property
    def passes(self) -> dict[StoreKey, str]:
        """{store: name of its separate pass}, for stores that do not join their group of layers."""
        found = {}
        for path, key in self.stores.items():
            if path not in self.wanted:
                found[key] = f"_{key.hook}_L{key.layer:02d}"
            elif self.turn_of:
                found[key] = f"_turn{self.turn_of[key]}"
        return found

    def before(self, job: ExtractionJob) -> list[str]:
        """Return markers of the deletions that an extraction waits for: stores of earlier turns."""
        if all(self.plan.store(key).path not in self.state.lost for key in job.stores):
            return []
        first = min(self.turn_of.get(key, 0) for key in job.stores)
        return [
            marker_of(path, self.plan.results)
            for path, key in self.stores.items()
            if path in self.deleted
            and (key.dataset, key.split) == (job.dataset, job.split)
            and self.turn_of.get(key, 0) < first
        ]

    # --- deletions ------------------------------------------------------------------------------

    @cached_property
    def deleted(self) -> set[str]:
        """Stores that this run deletes."""
        return {
            path
            for path, key in self.stores.items()
            if self.readers[path]
            and (path in self.wanted or is_on_disk(self.plan.store(key).folder))
        }

    @property
    def all(self) -> list[Deletion]:
        """Every deletion of this run."""
        return [self._deletion(path, key) for path, key in self.stores.items()
                if path in self.deleted]  # fmt: skip

    def _deletion(self, path: str, key: StoreKey) -> Deletion:
        marker = marker_of(path, self.plan.results)
        # Skip readers that neither exist nor will be made. A reader that exists may still run for
        # a reason of Snakemake's own, such as the mark of a job that was killed with its run.
        read_by = [p for p in self.readers[path] if p in self.runs or os.path.exists(p)]
        name = f"drop_{key.dataset}_{key.split}_{key.hook}_L{key.layer:02d}"
        folder = str(self.plan.store(key).folder)
        made = {"": Artefact(path=marker, stage="drop", spec={"store": folder})}
        step = Step(DROP, name, DROP.run, made, values={"store": folder})
        return Deletion(name, marker, read_by, os.path.exists(marker), job_json(self.plan, step))

    def of_target(self, target: str) -> list[str]:
        """Return markers of the stores that a target reads; they belong to the target."""
        needed = closure(self.upstream, self.plan.files_of(target))
        own = readers(self.upstream, self.stores, needed)
        return [marker_of(path, self.plan.results) for path in self.stores
                if path in self.deleted and own[path]]  # fmt: skip

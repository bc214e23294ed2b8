"""What a run for some targets makes, known before Snakemake decides. No torch."""

import os
from collections.abc import Iterable

from clip_sae.planning.jobs import upstream_of
from clip_sae.planning.plan import Plan
from clip_sae.planning.staleness import Staleness
from clip_sae.planning.turns import will_run


def paths_of(plan: Plan, targets: Iterable[str]) -> list[str]:
    """The files behind the targets of a run: of a collection, of a rule, or files themselves."""
    paths = []
    for target in targets:
        if target in plan.targets:
            paths += plan.files_of(target)
            continue
        made = [
            artefact.path
            for step in plan.all_steps
            if target in (step.name, step.rule.name)
            for artefact in step.artefacts
        ]
        paths += made or [os.path.normpath(target)]
    return paths


def made_by_run(plan: Plan, state: Staleness, targets: Iterable[str]) -> set[str]:
    """The files that a run for the targets makes.

    A folder that lacks files is as good as deleted: it is made if a target, or if something that
    the run makes reads it.
    """
    stale, missing = state.stale.keys() - state.lost, state.missing | state.lost
    return will_run(upstream_of(plan), paths_of(plan, targets), stale, missing)

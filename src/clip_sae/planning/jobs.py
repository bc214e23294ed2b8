"""Steps as Snakemake's jobs: the JSON of a job's process, all jobs, and the jobs of a run."""

import json
import os
from collections.abc import Iterable, Sequence

from clip_sae.planning.artefacts import Artefact
from clip_sae.planning.final import STYLE
from clip_sae.planning.plan import Plan
from clip_sae.planning.reads import resources_of
from clip_sae.planning.specs import canonical_json
from clip_sae.planning.staleness import Staleness
from clip_sae.planning.steps import Step
from clip_sae.planning.turns import will_run


def job_json(
    plan: Plan,
    step: Step,
    *,
    makes: Sequence[Artefact] = (),
    part: str | None = None,
    gathers: int = 0,
) -> str:
    """Return the JSON that a job's process receives; mappings keep their order.

    Args:
        makes: outputs of a part of the job; by default all outputs of the step.
        part: name of the part; gathers: number of parts that were made before.
    """
    made = {"": makes[0]} if makes else step.makes
    versioned = all("code" not in artefact.spec for artefact in step.artefacts)
    resources = [*step.rule.resources, *resources_of(step.reads)]
    return json.dumps(
        {
            "run": step.run,
            "records": step.rule.records,
            "draws": STYLE in step.rule.resources,
            "arguments": step.arguments,
            "makes": {key: _made(a) for key, a in made.items()},
            "whole": {key: _made(a) for key, a in step.makes.items()} if makes else None,
            "part": part,
            "gathers": gathers,
            "sidecars": sorted({str(up.sidecar) for up in step.upstream}),
            "code": None if versioned else {"resources": resources},
            "resources_folder": str(plan.workflow / "resources"),
            "logs": f"{plan.results}/logs",
        },
        allow_nan=False,
    )


def _made(artefact: Artefact) -> dict:
    return {
        "path": artefact.path,
        "sidecar": str(artefact.sidecar),
        # sorted: an SAE's cfg.json holds it, and the same SAE is the same bytes
        "record": json.loads(canonical_json(artefact.record)),
    }


def listing(plan: Plan) -> list[dict]:
    """Return every job but extractions: its benchmark, stage, outputs and inputs."""
    return [
        {
            "job": step.benchmark,
            "stage": step.rule.stage,
            "makes": [a.path for a in step.artefacts]
            + [str(a.sidecar) for a in step.artefacts if str(a.sidecar) != a.path]
            + plan.beside(step),
            "reads": sorted(up.path for up in step.upstream),
        }
        for step in plan.all_steps
        if step.rule.stage != "extract"
    ]


def upstream_of(plan: Plan) -> dict[str, set[str]]:
    """Return {path: inputs of its job} of every output, records and drawings too."""
    return {path: set(job["reads"]) for job in listing(plan) for path in job["makes"]}


def paths_of(plan: Plan, targets: Iterable[str]) -> list[str]:
    """Return the files of a run's targets: collections, rules, steps or files."""
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
    """Return the files that a run for the targets makes.

    A folder that lacks files counts as deleted: the run makes it only if it is a target or if
    another output of the run reads it.
    """
    stale, missing = state.stale.keys() - state.lost, state.missing | state.lost
    return will_run(upstream_of(plan), paths_of(plan, targets), stale, missing)

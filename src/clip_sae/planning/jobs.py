"""A step as Snakemake's job: the JSON that its process receives, and the listing of all jobs."""

import json
from collections.abc import Sequence

from clip_sae.planning.artefacts import Artefact
from clip_sae.planning.final import STYLE
from clip_sae.planning.plan import Plan
from clip_sae.planning.reads import resources_of
from clip_sae.planning.specs import canonical_json
from clip_sae.planning.steps import Step


def job_json(
    plan: Plan,
    step: Step,
    *,
    makes: Sequence[Artefact] = (),
    part: str | None = None,
    gathers: int = 0,
) -> str:
    """Return what a job's process needs to know, as JSON; mappings keep their order.

    Args:
        makes: what a part of the job makes instead; by default all that the step makes.
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
    """Every job but extractions: its benchmark, stage, what it makes, all that it reads."""
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
    """{path: what its job reads} of everything that a job makes, records and drawings too."""
    return {path: set(job["reads"]) for job in listing(plan) for path in job["makes"]}

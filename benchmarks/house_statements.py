"""Values that a step states twice, and paths that it reads without declaring them.

At e05d341 each rule named its values twice (for the script and for the digest), and the two could
differ; this counted 1,554 of 2,160 values and 77 undeclared reads there. Now a step declares both
once; tests/planning/test_declarations.py holds both counts at zero for every config.
"""

from collections.abc import Iterator
from pathlib import Path

from clip_sae.analyses.planned import planned
from clip_sae.planning.artefacts import COMPLETE
from clip_sae.planning.config import load_config
from clip_sae.planning.plan import Plan
from clip_sae.planning.reads import TAG, Images, Outside, Resource, leaves
from clip_sae.planning.steps import Step


def statements(tree: Path) -> dict[str, int]:
    """Count the arguments of the demo's steps.

    Returns:
        values: arguments that are no reads.
        twice: those that a step states twice.
        undeclared: paths among the arguments outside everything that the step reads.
    """
    config = load_config(tree / "config.yaml", tree / "workflow/schemas/config.schema.yaml")
    plan = planned(config, workflow=tree / "workflow", src=tree / "src")
    steps = each_step(plan)
    return {
        "values": sum(len(step.values) for step in steps),
        "twice": sum(len(repeated(step)) for step in steps),
        "undeclared": sum(len(undeclared(plan, step)) for step in steps),
    }


def each_step(plan: Plan) -> list[Step]:
    """Return every step once, the passes of extraction among them."""
    for job in plan.extraction_jobs():
        plan.extraction_step(job)
    return plan.all_steps


def undeclared(plan: Plan, step: Step) -> list[str]:
    """Return paths among a step's arguments that lie in nothing that the step reads.

    Paths below the results or next to the workflow count; other text with a slash is a value, such
    as a model's tag.
    """
    allowed = [*_inside(step), *_outside(step)]
    ours = (f"{plan.results}/", f"{plan.workflow}/")
    found = [path for path in paths_in(step.arguments) if path.startswith(ours)]
    return [path for path in found if not any(_lies_in(path, known) for known in allowed)]


def repeated(step: Step) -> list[str]:
    """Return names of values that a step states twice: as a read too, or under two names.

    Two names count only for mappings and lists; equal numbers and words may be coincidence.
    """
    names = [*(step.reads.keys() & step.values.keys())]
    seen: set[str] = set()
    for name, value in step.values.items():
        if isinstance(value, dict | list) and value:
            if repr(value) in seen:
                names.append(name)
            seen.add(repr(value))
    return names


def paths_in(value: object) -> Iterator[str]:
    """Yield every string with a slash and without a space in a nesting of JSON."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key != TAG:
                yield from paths_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from paths_in(item)
    elif isinstance(value, str) and "/" in value and " " not in value:
        yield value


def _inside(step: Step) -> list[str]:
    """Files and folders of the artefacts that a step reads."""
    return [str(up.folder) if Path(up.path).name == COMPLETE else up.path for up in step.upstream]


def _outside(step: Step) -> list[str]:
    """Files and folders from outside that a step names, and resources."""
    found = list(leaves(step.reads))
    paths = [leaf.path for leaf in found if isinstance(leaf, Outside | Resource)]
    roots = [leaf.root for leaf in found if isinstance(leaf, Images)]
    return paths + [root.path for root in roots if isinstance(root, Outside)]


def _lies_in(path: str, known: str) -> bool:
    return path == known or path.startswith(f"{known}/")

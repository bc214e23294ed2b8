"""Values that a step states twice, and paths that it reads without declaring them.

At e05d341 each rule named its values twice (for the script and for the digest), and the two could
part; this counted 1,554 of 2,160 values and 77 undeclared reads there. Now a step declares both
once, and `clip_sae.planning.declared` finds what slips past.
"""

from pathlib import Path

from clip_sae.analyses.planned import planned
from clip_sae.planning.config import load_config
from clip_sae.planning.declared import each_step, repeated, undeclared


def statements(tree: Path) -> dict[str, int]:
    """Count the arguments of the demo's steps.

    Returns:
        values: arguments that are no reads.
        twice: those that a step states twice.
        undeclared: paths among the arguments that lie in nothing that the step reads.
    """
    config = load_config(tree / "config.yaml", tree / "workflow/schemas/config.schema.yaml")
    plan = planned(config, workflow=tree / "workflow", src=tree / "src")
    steps = each_step(plan)
    return {
        "values": sum(len(step.values) for step in steps),
        "twice": sum(len(repeated(step)) for step in steps),
        "undeclared": sum(len(undeclared(plan, step)) for step in steps),
    }

"""The whole plan of a config: the stages, then every analysis that the config names.

Each folder of analyses has a `plan.py` with a function `steps(plan)`; nothing lists them. No torch.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from clip_sae.planning.plan import Plan


def analysis_plans() -> list:
    """The `plan` modules of all analyses, by name."""
    folders = sorted(path.parent.name for path in Path(__file__).parent.glob("*/plan.py"))
    return [import_module(f"clip_sae.analyses.{name}.plan") for name in folders]


def planned(config: Mapping, *, workflow: Path, src: Path) -> Plan:
    """Return the plan with every step of a validated config declared.

    An analysis may use the steps of another (`plan.of(name)`), whatever their order. The passes of
    extraction follow from the stores that all these steps read (`plan.extraction_jobs`).
    """
    plan = Plan(config, workflow=workflow, src=src)
    modules = {module.__name__.split(".")[-2]: module for module in analysis_plans()}
    plan.planners = {name: module.steps for name, module in modules.items()}
    plan.declare_sources()
    plan.declare_saes()
    for name in modules:
        plan.of(name)
    return plan

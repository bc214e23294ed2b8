"""The whole plan of a config: the stages, then every question that the config names. No torch."""

from collections.abc import Mapping
from pathlib import Path

from clip_sae.planning.config import load_config
from clip_sae.planning.plan import Plan
from clip_sae.planning.questions import questions

SCHEMA = Path("workflow/schemas/config.schema.yaml")


def planned(config: Mapping, *, workflow: Path, src: Path) -> Plan:
    """Return the plan with every step of a validated config declared.

    A question may use the steps of another (`plan.of(name)`), whatever their order. The passes of
    extraction follow from the stores that all these steps read (`plan.extraction_jobs`).
    """
    plan = Plan(config, workflow=workflow, src=src)
    plan.planners = {question.name: question.steps for question in questions()}
    plan.declare_sources()
    plan.declare_saes()
    for name in plan.planners:
        plan.of(name)
    return plan


def plan_of(config: Path) -> Plan:
    """Return the whole plan of a config file, for the workflow in this folder.

    Raises ValueError if the folder holds no workflow, or the config file does not exist.
    """
    if not config.is_file():
        raise ValueError(f"--config {config} is not a file; config.yaml is the default.")
    if not SCHEMA.is_file():
        raise ValueError(
            f"{SCHEMA} is not below {Path.cwd()}: run `python -m clip_sae` in the workflow's "
            "folder, next to its Snakefile."
        )
    # absolute, as Snakemake's own paths are: they stand in jobs, not in digests
    folder = SCHEMA.parents[1].resolve()
    src = folder.parent / "src"  # as the Snakefile: code digests are of the workflow's own code
    return planned(load_config(config, SCHEMA), workflow=folder, src=src)

"""The plan, and what each job waits for; included before all others. docs/reruns.md tells the story.

`reads(rule)`, `makes(rule)`, `logs(rule)` and `times(rule)` return the inputs, outputs, log and
benchmark of a rule from its declaration (`planning.steps.Rule`, next to the analysis).
"""

import os
import sys
import time
from functools import cache
from pathlib import Path

# The workflow's own folder: `workflow.basedir` is the folder of a Snakefile that imports it.
HOME = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
SRC = HOME.parent / "src"
# Scripts and cluster jobs find the package without an installation.
sys.path.insert(0, str(SRC))
os.environ |= {
    "PYTHONPATH": f"{SRC}{os.pathsep}{os.getenv('PYTHONPATH', '')}".rstrip(os.pathsep)
}

from clip_sae.analyses.planned import planned
from clip_sae.planning.config import ConfigError, validate_config
from clip_sae.running.gpus import local_gpus
from clip_sae.planning.jobs import job_json, made_by_run, upstream_of
from clip_sae.planning.staleness import STORES, Staleness
from clip_sae.planning.steps import RULES
from clip_sae.running.locks import AnotherRun, begin_run
from clip_sae.planning.scatter import BEGIN, PARTS, parts_of
from clip_sae.planning.specs import ParsedCode, write_text
from clip_sae.planning.turns import masked

try:
    config = validate_config(config, HOME / "schemas/config.schema.yaml")
except ConfigError as error:
    raise WorkflowError(str(error)) from None

# Each reading of the workflow needs digests of code, also in each job on a cluster.
PARSED_CODE = ParsedCode(HOME.parent / ".snakemake/clip-sae-code.json")
plan = planned(config, workflow=HOME, src=SRC)
RESULTS = plan.results
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
if workflow.is_main_process:
    PARSED_CODE.save()


# The longest jobs can be split: `--set-scatter extraction=8 units=8`, or in a profile. Digests and
# results do not depend on it.
scattergather:
    extraction=1,
    units=1,


wildcard_constraints:
    **plan.wildcard_constraints(),


# Two runs at once would remove each other's outputs. Snakemake calls this in the main process, when
# jobs are about to start: never in a dry run, nor in a job on a cluster.
onstart:
    try:
        begin_run(Path(RESULTS), logger.info)
    except AnotherRun as error:
        raise WorkflowError(str(error)) from None


# --- what is out of date --------------------------------------------------------------------------

# The input of every job whose output is out of date, written when the workflow is read. Its content
# differs each time, because Snakemake ignores a newer file whose checksum it knows.
STALE_MARK = f"{RESULTS}/.out-of-date"

# The main process decides. A job on a cluster repeats this only where its rules depend on it
# (drop.smk).
STATE = Staleness.of(plan) if workflow.is_main_process or plan.temporary else None


def mark_stale(path):
    """Make the mark of this reading of the workflow newer than `path`, which takes it as input."""
    # Where a clock was wrong: Snakemake compares the mark's time with this one.
    if os.path.getmtime(path) > time.time():
        os.utime(path)
    write_text(Path(STALE_MARK), f"{time.time_ns()}\n")


if workflow.is_main_process:
    for path, reason in STATE.stale.items():
        logger.info(f"out of date: {path} ({reason})")
        mark_stale(path)


def forced():
    """Check whether this run forces jobs, which then need inputs that otherwise stay deleted."""
    dag = workflow.dag_settings
    return bool(dag.forcerun or dag.forceall or dag.forcetargets)


@cache
def made_now():
    """Return the files that this run makes. Call it when jobs are made: targets are known by then."""
    found = made_by_run(plan, STATE, workflow.dag_settings.targets or ["all"])
    return found & {artefact.path for artefact in plan.artefacts}


@cache
def upstream():
    """Return {path: all paths that its job reads}."""
    return upstream_of(plan)


def made_before(artefacts):
    """Return the files of this run behind up-to-date inputs of `artefacts`, for plain inputs.

    Snakemake 9.27 passes over a job with a missing output where an earlier job runs and all ways
    between them lead through `ancient` inputs (dag.py, update_needrun: masked jobs are reached by
    plain inputs alone). Ways through files that this run makes are plain already.
    """
    behind = masked(upstream(), [artefact.path for artefact in artefacts], made_now())
    if plan.temporary:  # only readers hold up a deletion
        behind.difference_update(store.path for store in plan.stores.values())
    return sorted(behind)


def is_stale(artefact):
    """Check whether this run must make an existing file again.

    A folder that lacks files counts only where the run needs it: an up-to-date table does not pull
    a damaged store back in.
    """
    path = artefact.path
    return path in STATE.stale and (
        path not in STATE.lost or forced() or path in made_now()
    )


def inputs(step, artefacts=None, parts=()):
    """Return the files that a job waits for.

    Specs and fingerprints decide whether a file is out of date: touching or copying re-runs nothing,
    and no stale file survives a failed run or a lost .snakemake folder.
    Inputs of an up-to-date output are `ancient`: Snakemake's order by file times is off. Inputs of
    a stale output are plain, and the mark of this reading, newer than any file, is one of them.
    (They must be plain: Snakemake skips a job whose inputs are all ancient when a job before it
    runs, whatever other reasons it has.)

    Args:
        artefacts: the part of the step's artefacts that the job makes, if not all.
        parts: artefacts of the parts that the job is split into.
    """
    made = step.artefacts if artefacts is None else artefacts
    waits = {up.path: up for up in [*step.upstream, *parts]}
    if STATE is None:
        return [*waits]
    if artefacts is not None:
        for part in artefacts:
            STATE.check(part)
            if part.path in STATE.stale and workflow.is_main_process:
                logger.info(f"out of date: {part.path} ({STATE.stale[part.path]})")
                mark_stale(part.path)
    if any(map(is_stale, made)):
        return list(dict.fromkeys([*waits, *made_before(step.artefacts), STALE_MARK]))
    written = [artefact.path for artefact in made]
    if artefacts is None:
        written += plan.beside(step)  # an .svg alone is made again by the whole job
    if not STATE.missing.isdisjoint(written):
        return list(dict.fromkeys([*waits, *made_before(step.artefacts)]))
    # An up-to-date output must not pull its deleted inputs (stores, job parts) back in. An index
    # comes back all the same: only an index shows that images have changed.
    return [
        ancient(path)
        for path, up in waits.items()
        if forced() or up.source or not STATE.is_lost(up)
    ]


# --- a rule's parts, from its declaration ---------------------------------------------------------


def step_of(rule, wildcards):
    """Return the step behind one job of a rule."""
    pattern = next(iter(RULES[rule].patterns.values()))
    path = f"{RESULTS}/{pattern.format(**wildcards)}"
    if path not in plan.steps:
        raise WorkflowError(
            f"{path} is not part of this config; `python -m clip_sae plan` lists its parts."
        )
    return plan.steps[path]


def reads(rule):
    """Return the inputs of a rule's job: the artefacts that its step reads."""
    split = RULES[rule].split

    def found(wildcards):
        step = step_of(rule, wildcards)
        return inputs(step, parts=parts_for(step, split) if split else ())

    return found


# Stores have a rule per extraction; `makes` adds the other rules.
RULES_IN_FILES = {*STORES}


def makes(rule):
    """Return the outputs of a rule: its artefacts, their records, and files next to them."""
    RULES_IN_FILES.add(rule)
    return RULES[rule].outputs(RESULTS)


def logs(rule):
    """Return the log of a rule's job."""
    return RULES[rule].named(LOGS, ".log")


def times(rule):
    """Return the benchmark of a rule's job."""
    return RULES[rule].named(BENCHMARKS, ".tsv")


def declared(wildcards, output):
    """Return the JSON for the job's process: function, arguments, records."""
    step = plan.steps.get(str(output[0])) if output else None
    if step is None:
        raise WorkflowError(
            "this rule has no output of its own; name a file or target."
        )
    split = step.rule.split
    return job_json(plan, step, gathers=len(parts_for(step, split)) if split else 0)


def gpus(wildcards):
    """Return the GPUs of a job that can use one; the profile limits how many are in use at once.

    On a cluster always 1; on a single machine without a GPU 0, so that such jobs run in parallel on
    its cores.
    """
    return 1 if workflow.non_local_exec else min(1, local_gpus())


def early_layers_first(wildcards):
    """Return the priority of a job of one layer: early layers take longest, with more blocks behind."""
    return plan.architecture.n_layers - int(wildcards.layer)


# --- parts of a job -------------------------------------------------------------------------------


def is_split(split):
    """Check whether the jobs of a scatter process are split into parts."""
    return len(getattr(scatter, split)("{scatteritem}")) > 1


def parts_for(step, split):
    """Return the parts of a split job, or an empty list."""
    names = getattr(scatter, split)("{scatteritem}")
    return parts_of(step.artefacts, names) if is_split(split) else []


def part_json(step, parts, name):
    """Return the JSON for the process of one part."""
    [part] = [part for part in parts if part.spec["part"] == name]
    return job_json(plan, step, makes=[part], part=name)


def part_reads(rule):
    """Return the inputs of a part of a rule's job; the wildcard `scatteritem` names the part."""

    def found(wildcards):
        step = step_of(rule, wildcards)
        parts = parts_for(step, step.rule.split)
        return inputs(
            step, [p for p in parts if p.spec["part"] == wildcards.scatteritem]
        )

    return found


def part_declared(rule):
    """Return the JSON for the process of a part of a rule's job."""

    def found(wildcards):
        step = step_of(rule, wildcards)
        parts = parts_for(step, step.rule.split)
        return part_json(step, parts, wildcards.scatteritem)

    return found


def part_makes(rule):
    """Return the output of a part: a mark, deleted once the whole is made."""
    folder = Path(next(iter(RULES[rule].patterns.values()))).parent
    return temp(f"{RESULTS}/{folder}/{PARTS}/{{scatteritem}}/COMPLETE.json")

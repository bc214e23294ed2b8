"""The validated config, the plan, and which targets are out of date; included before all others."""

import os
import sys
import time
from pathlib import Path

ROOT = Path(workflow.basedir)
SRC = ROOT / "src"
# Scripts and cluster jobs find the package without an installation.
sys.path.insert(0, str(SRC))
os.environ |= {
    "PYTHONPATH": f"{SRC}{os.pathsep}{os.getenv('PYTHONPATH', '')}".rstrip(os.pathsep)
}

from snakemake.cli import parse_args

from clip_sae.artefacts import why_stale
from clip_sae.architecture import ModelSource
from clip_sae.config import ConfigError, validate_config
from clip_sae.fingerprints import current_fingerprint
from clip_sae.hardware import local_gpus
from clip_sae.plan import Plan, StoreKey
from clip_sae.run_lock import AnotherRun, begin_run
from clip_sae.scatter import BEGIN, parts_of
from clip_sae.specs import ParsedCode, canonical_json, read_json, write_text

try:
    config = validate_config(config, ROOT / "workflow/schemas/config.schema.yaml")
except ConfigError as error:
    raise WorkflowError(str(error)) from None

# Digests of code are asked for at each reading of the workflow, in each job on a cluster as well.
PARSED_CODE = ParsedCode(ROOT / ".snakemake/clip-sae-code.json")
plan = Plan(config, workflow=ROOT / "workflow", src=SRC)
RESULTS = plan.results
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
MODEL_SOURCE = ModelSource(config["model"]["model"], config["model"]["pretrained"])


# Into how many jobs the longest ones are split: `--set-scatter extraction=8 units=8`, or a profile.
# Neither a digest nor a bit of a result depends on it.
scattergather:
    extraction=1,
    units=1,


# Two runs at once would remove each other's outputs. Snakemake calls this in the main process, when
# jobs are about to start: never in a dry run, nor in a job on a cluster.
onstart:
    try:
        if ASKED != ["list_work"]:  # which writes a file that no run reads
            begin_run(Path(RESULTS), logger.info)
    except AnotherRun as error:
        raise WorkflowError(str(error)) from None


# Files of the targets `all` and `extended`, to which each rule file adds its own.
TARGETS = {"all": [], "extended": []}
# Everything that some rule makes, for `python -m clip_sae gc`; what each job makes; and of that, what
# is out of date or missing.
ARTEFACTS, JOBS = [], []
STALE, MISSING = set(), set()

# The input of every job whose output is out of date. It is written when the workflow is read and
# something is stale; its content differs each time, because Snakemake ignores a newer file whose
# checksum it knows.
STALE_MARK = f"{RESULTS}/.out-of-date"


def asked_for():
    """The targets of this run, and whether jobs are forced.

    Snakemake keeps both to itself while it reads the workflow, so its command line is read again.
    A job's own process is told through the environment.
    """
    if not workflow.is_main_process:
        told = dict(os.environ).get("CLIP_SAE_TARGETS", "all")
        return told.split(os.pathsep), True
    targets, forced = ["all"], True
    if "snakemake" in sys.argv[0]:
        _, asked = parse_args(sys.argv[1:])
        targets = sorted(asked.targets) or targets
        forced = bool(asked.force or asked.forceall or asked.forcerun)
    os.environ |= {"CLIP_SAE_TARGETS": os.pathsep.join(targets)}
    return targets, forced


ASKED, FORCED = asked_for()


def known_fingerprints():
    """Fingerprints of outside content as it is now, per source name; unknown ones are absent."""
    found = {}
    for artefact in [plan.model, *map(plan.index, config["datasets"])]:
        if artefact is plan.model:
            value = current_fingerprint(MODEL_SOURCE, artefact.sidecar, artefact.source)
        else:
            record = read_json(artefact.sidecar) or {}
            value = record.get("fingerprints", {}).get(artefact.source)
        if value is not None:
            found[artefact.source] = value
    return found


# Whether this process asks what is out of date. A job on a cluster belongs to a run that has decided;
# it asks only where its rules themselves depend on the answer (drop.smk).
DECIDES = workflow.is_main_process or plan.temporary
FINGERPRINTS = known_fingerprints() if DECIDES else {}


def gpus(wildcards):
    """GPUs of a job that can use one; the profile says how many may be in use at once.

    A cluster has one somewhere. On a single machine without, the answer is 0, and such jobs run side
    by side on its cores.
    """
    return 1 if workflow.non_local_exec else min(1, local_gpus())


def needs(*artefacts, parts=()):
    """All that `artefacts` come from, as the inputs of what makes them, and the parts of the job.

    Whether a file is out of date is decided by specs and fingerprints, so that touching or copying
    re-runs nothing, and neither a failed run nor a lost .snakemake folder leaves a stale file
    standing. Inputs of what is up to date are `ancient`: Snakemake's order by file times is off.
    Inputs of what is stale are plain, and the mark of this reading of the workflow, newer than any
    file, is one of them. (They must be plain: a job whose inputs are all ancient is passed over
    when a job before it runs, whatever other reasons it has.)
    """
    ARTEFACTS.extend(artefacts)
    if artefacts[0].stage != "part":
        JOBS.append(artefacts)
    upstream = {up.path: up for made in artefacts for up in made.upstream}
    paths = [*upstream, *(part.path for part in parts)]
    if not DECIDES:
        return paths
    # Also where another output of the job is missing: where another path is asked for, Snakemake
    # would leave a stale one standing.
    reasons = {made.path: why_stale(made, FINGERPRINTS) for made in artefacts}
    reasons = {path: reason for path, reason in reasons.items() if reason}
    MISSING.update(made.path for made in artefacts if not os.path.exists(made.path))
    STALE.update(reasons)
    if not reasons:
        if any(made.path in MISSING for made in artefacts):
            return paths
        # What is made already asks for nothing that is gone: no store, and no part of its own job.
        gone = [
            up.path
            for up in [*upstream.values(), *parts]
            if up.stage in ("extract", "part") and not os.path.exists(up.path)
        ]
        return [ancient(path) for path in paths if FORCED or path not in gone]
    if workflow.is_main_process:
        for path, reason in reasons.items():
            logger.info(f"out of date: {path} ({reason})")
            mark_stale(path)
    return [*paths, STALE_MARK]


def mark_stale(path):
    """Make the mark of this reading of the workflow newer than `path`, which takes it as input."""
    # Where a clock was wrong: Snakemake compares the mark's time with this one.
    if os.path.getmtime(path) > time.time():
        os.utime(path)
    write_text(Path(STALE_MARK), f"{time.time_ns()}\n")


def split(split_into, *whole):
    """The parts that the job which makes `whole` is split into: none where it is one job.

    Args:
        split_into: `scatter.extraction` or `scatter.units`.
    """
    names = split_into("{scatteritem}")
    return parts_of(whole, names) if len(names) > 1 else []


def the_part(parts):
    """The output of each of the `parts`, a mark that goes when the whole is made."""
    return temp(parts[0].path.replace(parts[0].spec["part"], "{scatteritem}"))


def part_spec(parts, **arguments):
    """As `job_spec`, of the part that a job's wildcard names."""
    specs = {
        part.spec["part"]: job_spec(part, **arguments, part=part.spec["part"])
        for part in parts
    }
    return lambda wildcards: specs[wildcards.scatteritem]


def with_sidecar(artefact):
    """The outputs of a single-file artefact: the file and the record of its spec."""
    return [artefact.path, str(artefact.sidecar)]


def job_spec(*artefacts, script=None, resources=(), **arguments):
    """The one parameter of a rule: what is made, from what, and with which values.

    One canonical JSON text, because Snakemake compares parameters as a set without names.
    """
    upstream = {a.path: str(a.sidecar) for made in artefacts for a in made.upstream}
    return canonical_json(
        {
            "makes": {
                a.path: {"record": a.record, "sidecar": str(a.sidecar)}
                for a in artefacts
            },
            "sidecars": sorted(upstream.values()),
            "code": {"script": script, "resources": list(resources)},
            "arguments": arguments,
        }
    )

"""Hours of jobs, from records of measured jobs: of the same results, else the shipped ones.

Snakemake's benchmark files ({results}/benchmarks/**.tsv) hold the seconds of each job's last run on
this machine, with the start of Python. `workflow/resources/measured_jobs.csv` holds the work and
seconds of stages measured on two CPU cores (benchmarks/planning.md, extraction.md, training.md).
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from pathlib import Path

# Factors around an estimate. For the same model: in the demo, stages estimated from some of their
# jobs took half to twice the estimate, because the start of a job is a large share of short ones,
# and other processors differ as much. For another model caches and that share differ as well: the
# two records of training, at d_model 128 and 768, are a factor of 7.6 apart.
SAME_MODEL, OTHER_MODEL = (0.5, 2.0), (0.125, 8.0)


@dataclass(frozen=True)
class Hours:
    """Hours of one device for some jobs, their range, and the record behind them."""

    hours: float
    least: float
    most: float
    source: str


@dataclass(frozen=True)
class Shipped:
    """One measured stage: its seconds and its work, in the unit of the stage.

    `model`: (layers, d_model, tokens per image), within which one job is comparable with another
    where the work of the stage is its number of jobs.
    """

    unit: str
    work: float
    seconds: float
    model: tuple[int, int, int]
    measured: str


def read_seconds(benchmarks: Path) -> dict[str, float]:
    """Return {job: seconds of its last run}, without files that cannot be read.

    Jobs that were split are left out: their own file holds only the gathering of their parts.
    """
    found = {}
    files = {str(p.relative_to(benchmarks).with_suffix("")): p for p in benchmarks.rglob("*.tsv")}
    split = {re.sub(r"[_-]\d+-of-\d+$", "", name) for name in files if "-of-" in name}
    # of several digests the last one run
    for name, path in sorted(files.items(), key=lambda item: item[1].stat().st_mtime):
        if name in split:
            continue
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        try:
            seconds = float(rows[-1]["s"])
        except (IndexError, KeyError, TypeError, ValueError):
            continue  # a killed job's file
        found[without_digest(name)] = seconds
    return found


def without_digest(job: str) -> str:
    """Return a job's name without its digest: an edit hardly changes the seconds."""
    return re.sub(r"[-/][0-9a-f]{10}$", "", job)


def read_shipped(path: Path, model: tuple[int, int, int]) -> dict[str, Shipped]:
    """Return {stage: its shipped record}, of the model whose width is nearest to `model`'s."""
    found: dict[str, Shipped] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            size = int(row["layers"]), int(row["d_model"]), int(row["tokens_per_image"])
            work, seconds = float(row["work"]), float(row["seconds"])
            record = Shipped(row["unit"], work, seconds, size, row["measured"])
            best = found.setdefault(row["stage"], record)
            if abs(log(size[1] / model[1])) < abs(log(best.model[1] / model[1])):
                found[row["stage"]] = record
    return found


def hours_of(
    due: float, ran: Mapping[str, float], seconds: Mapping[str, float], unit: str
) -> Hours | None:
    """Return the hours of work that is due, from jobs of the same results.

    Args:
        due: work to be done. ran: {job: work} of the jobs to measure by. seconds: {job: seconds}.
        unit: of the work.

    Returns:
        None if none of the jobs in `ran` has a record.
    """
    known = [job for job, work in ran.items() if work and seconds.get(job)]
    if not known:
        return None
    per_unit = sum(seconds[job] for job in known) / sum(ran[job] for job in known)
    jobs = "1 earlier job" if len(known) == 1 else f"{len(known)} earlier jobs"
    return _hours(due * per_unit, SAME_MODEL, f"{jobs} of these results, per {unit}")


def shipped_hours(
    due: float, record: Shipped | None, model: tuple[int, int, int], on_cpu: bool
) -> Hours | None:
    """Return the hours of work that is due, from a shipped record.

    Returns:
        None where the record says nothing: on another kind of device, or where jobs of a model of
        another size are all that it counts.
    """
    if record is None or not on_cpu or (record.unit == "job" and record.model != model):
        return None
    factors = SAME_MODEL if record.model == model else OTHER_MODEL
    source = f"{record.measured}, per {record.unit}"
    return _hours(due * record.seconds / record.work, factors, source)


def _hours(seconds: float, factors: tuple[float, float], source: str) -> Hours:
    least, most = (seconds * factor / 3600 for factor in factors)
    return Hours(seconds / 3600, least, most, f"{source} (x{factors[0]:g} to x{factors[1]:g})")

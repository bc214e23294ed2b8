"""How fast a stage works: measured in earlier jobs of the same results, else taken to be.

Snakemake's benchmark files ({results}/benchmarks/**.tsv) hold the seconds of each job's last
run, and so of this machine. They contain starting Python and loading weights, some seconds a job.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

GPU_FLOPS = 50e12  # sustained on a data-centre GPU: a tenth of the bfloat16 peak of an H100 or so
CPU_CORE_FLOPS = 40e9  # sustained float32 on one core of a server
EXTRACTION_THREADS = 2  # of a job, in workflow/rules/activations.smk
IMAGES_PER_CORE = 90  # ImageNet's JPEGs decoded and resized a second, on one core


@dataclass(frozen=True)
class Rate:
    """Units of work a second of one device; `source` says where it is from, for the reader."""

    per_second: float
    source: str


def read_seconds(benchmarks: Path) -> dict[str, float]:
    """Return {job: seconds of its last run}, without files that cannot be read.

    Without jobs that were split as well: their own file holds the gathering of the parts only.
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
    """A job's name without its digest: an edit changes the digest, and hardly the seconds."""
    return re.sub(r"[-/][0-9a-f]{10}$", "", job)


def measured_rate(work: Mapping[str, float], seconds: Mapping[str, float]) -> Rate | None:
    """The rate of the jobs in `work` ({rule: units}) that have run; None if none has."""
    ran = [rule for rule, units in work.items() if units and seconds.get(rule)]
    if not ran:
        return None
    rate = sum(work[rule] for rule in ran) / sum(seconds[rule] for rule in ran)
    jobs = "1 earlier job" if len(ran) == 1 else f"{len(ran)} earlier jobs"
    return Rate(rate, f"measured in {jobs} of these results")

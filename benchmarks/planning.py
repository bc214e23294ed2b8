"""Estimates of `python -m clip_sae plan` beside what a finished run took: bytes and seconds.

    python benchmarks/planning.py            # in the folder of the finished run

Bytes: of the stores' shards and of the SAEs' weights. Seconds, of Snakemake's benchmark files: what
is estimated without any measurement, and what each job is estimated to take from the others of its
stage, each left out in turn.
"""

import argparse
import os
from pathlib import Path
from statistics import median

from clip_sae.analyses.configured import plan_of

from clip_sae.planning.jobs import work_listing
from clip_sae.planning.staleness import Staleness
from clip_sae.scale.estimate import EXTRACTION, Estimator
from clip_sae.scale.listing import WorkListing
from clip_sae.scale.quantities import Estimate, Speeds
from clip_sae.scale.rates import CPU_CORE_FLOPS, IMAGES_PER_CORE, Rate, measured_rate, read_seconds
from clip_sae.scale.report import duration, table


class FromNothing(Estimator):
    """The estimate as it was before anything had been made."""

    def absent(self, path: str) -> bool:
        return True


def estimator(config: Path) -> Estimator:
    """The estimate of a config as if nothing were there."""
    plan = plan_of(config)
    listed = work_listing(plan, Staleness.of(plan))
    everything = sorted({path for job in listed["jobs"] for path in job["makes"]})
    listing = WorkListing.from_dict(listed | {"missing": everything})
    cores = os.cpu_count() or 1
    speeds = Speeds(Rate(cores * CPU_CORE_FLOPS, ""), Rate(cores * IMAGES_PER_CORE, ""), 1)
    found = FromNothing(plan, listing, "all", {}, speeds)
    found.seconds = {}  # nothing measured
    return found


def bytes_table(estimate: Estimate, results: Path) -> list[str]:
    """Bytes of stores and SAEs, estimated and on disk."""
    model = Path("activations")
    shards, weights = 0, 0
    for split in estimate.splits:
        for file in (results / model).glob(f"*/{split.dataset}-{split.split}/*/acts.zarr/*/c/**/*"):
            inside = file.is_file() and "source_index" not in file.parts
            shards += file.stat().st_size if inside else 0
    for row in estimate.saes:
        weights += sum(
            file.stat().st_size
            for file in (results / "saes" / row["recipe"]).rglob("sae_weights.safetensors")
        )
    rows = [("shards of stores", sum(s.bytes for s in estimate.splits), shards)]
    rows += [("weights of SAEs", sum(row["bytes"] for row in estimate.saes), weights)]
    return table(
        ("what", "estimated, bytes", "on disk, bytes", "ratio"),
        [(name, f"{a:,}", f"{b:,}", f"{a / b:.4f}") for name, a, b in rows],
    )


def seconds_table(found: Estimator, estimate: Estimate, seconds: dict[str, float]) -> list[str]:
    """Seconds of each stage that has a formula."""
    formulas = found.formulas(found.planned_saes())
    work = {
        EXTRACTION: {
            f"extract_{s.dataset}_{s.split}_block0": float(s.images or 0) for s in estimate.splits
        }
    }
    for job in found.listing.jobs:
        if job["stage"] in formulas and found.needed.intersection(job["makes"]):
            work.setdefault(job["stage"], {})[job["job"]] = formulas[job["stage"]][1](job)
    rows = []
    for stage in estimate.stages:
        ran = {rule: n for rule, n in work.get(stage.name, {}).items() if seconds.get(rule)}
        if not ran:
            continue
        took = sum(seconds[rule] for rule in ran)
        guess = 3600 * (stage.hours or 0.0)
        others = []
        for rule, n in ran.items():
            rate = measured_rate({name: x for name, x in ran.items() if name != rule}, seconds)
            others += [n / rate.per_second / seconds[rule]] if rate else []
        left_out = (
            f"{min(others):.2f} / {median(others):.2f} / {max(others):.2f}" if others else "-"
        )
        rows.append(
            (stage.name, str(len(ran)), duration(took / 3600), duration(guess / 3600))
            + (f"{guess / took:.2f}", left_out)
        )
    head = ("stage", "jobs", "took", "estimated, nothing measured", "ratio")
    return table((*head, "from its other jobs: least / median / most"), rows)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    options = parser.parse_args()
    found = estimator(options.config)
    estimate = found.estimate()
    results = Path(found.plan.results)
    print("\n".join(bytes_table(estimate, results)), end="\n\n")
    seconds = read_seconds(results / "benchmarks")
    print("\n".join(seconds_table(found, estimate, seconds)))
    total = sum(seconds.values())
    jobs = sum(stage.jobs for stage in estimate.stages)
    print(f"\n{jobs} jobs planned; {len(seconds)} benchmark files, {duration(total / 3600)} in all")


if __name__ == "__main__":
    main()

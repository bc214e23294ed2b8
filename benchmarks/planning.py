"""Estimates of `python -m clip_sae plan` next to a finished run: bytes and seconds.

    python benchmarks/planning.py            # in the folder of the finished run

Bytes: of the stores' shards and of the SAEs' weights. Seconds, from Snakemake's benchmark files:
the shipped record's estimate of each stage, and that of each job from the others of its stage.
The last columns, with the work of each stage, are rows of workflow/resources/measured_jobs.csv.
"""

import argparse
from pathlib import Path
from statistics import median

from clip_sae.analyses.planned import plan_of
from clip_sae.scale.estimate import Estimate, Estimator
from clip_sae.scale.report import duration, table
from clip_sae.scale.seconds import hours_of, read_seconds


class FromNothing(Estimator):
    """The estimate of a target before anything has been made, from shipped records alone."""

    def __init__(self, plan, target: str) -> None:
        super().__init__(plan, target, {}, on_cpu=True, own_records=False)
        self.to_make = {path for job in self.jobs for path in job["makes"]} & self.needed
        self.wanted = set(self.readers)

    def absent(self, path: str) -> bool:
        """Count every store as absent."""
        return True


def bytes_table(estimate: Estimate, results: Path) -> list[str]:
    """Return the lines of bytes of stores and SAEs, estimated and on disk."""
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


def seconds_table(found: FromNothing, estimate: Estimate, seconds: dict[str, float]) -> list[str]:
    """Return the lines of each stage whose jobs have run: seconds, estimates, work."""
    saes = {s.artefact.path: s for row in found.planned_saes().values() for s in row}
    work: dict[str, dict[str, float]] = {"extract": found.extraction_work()}
    for job in found.jobs:
        if found.needed.intersection(job["makes"]):
            work.setdefault(job["stage"], {})[job["job"]] = found.job_work(job, saes)
    rows = []
    for stage in estimate.stages:
        ran = {job: n for job, n in work.get(stage.name, {}).items() if n and seconds.get(job)}
        if not ran:
            continue
        took = sum(seconds[job] for job in ran)
        guess = 3600 * stage.time.hours if stage.time else None
        ratios = []
        for job, n in ran.items():
            others = {name: x for name, x in ran.items() if name != job}
            hours = hours_of(n, others, seconds, stage.unit)
            ratios += [3600 * hours.hours / seconds[job]] if hours else []
        low, middle, high = (f"{f(ratios):.2f}" if ratios else "-" for f in (min, median, max))
        rows.append(
            (stage.name, f"{len(ran)} of {stage.jobs}", duration(took / 3600))
            + (("-", "-") if guess is None else (duration(guess / 3600), f"{guess / took:.2f}"))
            + (f"{low} / {middle} / {high}", f"{sum(ran.values()):.6g}", f"{took:.1f}")
        )
    head = ("stage", "jobs", "took", "shipped record", "ratio")
    head += ("from its other jobs: least / median / most", "work", "seconds")
    return table(head, rows)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    parser.add_argument("--target", default="all")
    options = parser.parse_args()
    found = FromNothing(plan_of(options.config), options.target)
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

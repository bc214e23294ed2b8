"""A failing job and its fix, with and without --keep-going; clocks that are wrong."""

import json
import os
import time

import pytest

DAY = 86_400


def make_stale(project) -> None:
    """Give the existing table another content, and the record of an older config."""
    table = project.path / "results/table4.csv"
    table.write_text("layer,ce\n1,0.0\n")
    record = table.with_name("table4.csv.spec.json")
    content = json.loads(record.read_text())
    content["spec"]["digest"] = "0" * 10
    content["spec"]["spec"]["seed"] = 7
    record.write_text(json.dumps(content))


@pytest.mark.faults
@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.fault("failing job, then its fix")
def test_failing_job_then_its_fix(project, scenario, keep_going):
    option = ["--keep-going"] if keep_going else []
    scenario.injected(
        "a file where the SAEs' folder must be, and an old table standing; then it is removed"
        + ("; `--keep-going`" if keep_going else "")
    )
    project.forget("activations", "saes")
    for table in ("table4.csv", "table4.csv.spec.json"):
        content = (scenario.undisturbed.path / "results" / table).read_bytes()
        (project.path / "results" / table).write_bytes(content)
    make_stale(project)
    obstacle = project.path / "results/saes"
    obstacle.write_text("no folder")
    run = project.run_once(*option)
    assert run.process.returncode != 0
    stores = [*project.path.glob("results/activations/**/COMPLETE.json")]
    assert len(stores) == 2 or not keep_going
    dates = {path: path.stat().st_mtime_ns for path in project.path.glob("results/**/parts/*")}
    scenario.row.detected = "by Snakemake: the job failed; the old table is planned again"
    scenario.saw(run, "out of date: results/table4.csv", project)
    assert "gather/table4.csv" in project.planned("results/table4.csv")
    obstacle.unlink()
    scenario.finish(project)
    redone = sum(path.stat().st_mtime_ns != date for path, date in dates.items())
    scenario.lost(redone, len(dates), "finished ranges")


@pytest.mark.faults
@pytest.mark.parametrize("days", [1, -10_000])
@pytest.mark.fault("wrong clock")
def test_wrong_clock(project, scenario, days):
    when = f"{days} day ahead" if days > 0 else f"{-days:,} days behind"
    scenario.injected(f"all files dated {when}, an old table standing, its SAE missing")
    project.forget("saes")
    for table in ("table4.csv", "table4.csv.spec.json"):
        content = (scenario.undisturbed.path / "results" / table).read_bytes()
        (project.path / "results" / table).write_bytes(content)
    make_stale(project)
    stamp = time.time() + days * DAY
    for path in project.path.rglob("*"):
        if ".snakemake" not in path.parts:
            os.utime(path, (stamp, stamp))
    kept = project.finished_ranges()
    run = scenario.finish(project)
    assert "rule extract_" not in run.output
    assert project.finished_ranges() == kept
    scenario.row.detected = "nothing to detect: records decide, not times"
    scenario.saw(run, "out of date: results/table4.csv", project)
    scenario.row.lost = "nothing; no store is made again"


@pytest.mark.faults
@pytest.mark.fault("files touched, a job with a wrong clock")
def test_touched_files_and_a_job_with_a_wrong_clock(project, scenario):
    scenario.injected("stores and images dated tomorrow, the SAE yesterday, tables touched")
    now = time.time()
    for pattern, days in (("activations", 1), ("datasets", 1), ("saes", -1), ("table*", 0)):
        for path in [*(project.path / "results").glob(pattern)]:
            for file in [path, *path.rglob("*")]:
                os.utime(file, (now + days * DAY, now + days * DAY))
    run = scenario.finish(project)
    assert "Nothing to be done" in run.output
    scenario.row.detected = "nothing to detect: records decide, not times"
    scenario.saw(run, "Nothing to be done", project)
    scenario.row.lost = "nothing; no job runs"
    scenario.row.finished_by = "nothing to finish"

"""kill -9: of an extraction, of a training, of snakemake itself, of everything at once."""

import os
import re
import signal

import pytest


def redone(kept: dict, now: dict) -> int:
    """Return the share of finished ranges that were written again."""
    return sum(now[part] != kept[part] for part in kept)


@pytest.mark.faults
@pytest.mark.fault("extraction killed")
def test_extraction_killed_in_the_middle(project, scenario):
    scenario.injected("`kill -9` of its process after 20 of 150 ranges")
    run, job = project.start_and_reach(20)
    job.kill()
    assert run.wait() != 0
    kept = project.finished_ranges()
    assert 20 <= len(kept) < 150
    scenario.nothing_wrong_served(project)
    scenario.saw(run, "SIGKILL", project)
    scenario.row.detected = "by Snakemake: the job ended by a signal"
    scenario.finish(project)
    scenario.lost(redone(kept, project.finished_ranges()), len(kept), "finished ranges")


@pytest.mark.faults
@pytest.mark.fault("training killed")
def test_training_killed_after_a_checkpoint(project, scenario):
    scenario.injected("`kill -9` of its process after a checkpoint (every 200 of 3,000 steps)")
    run, job = project.train_and_reach_checkpoint()
    job.kill()
    assert run.wait() != 0
    assert not [*project.path.glob("results/saes/*/*/*/COMPLETE.json")]
    scenario.nothing_wrong_served(project)
    scenario.saw(run, "SIGKILL", project)
    scenario.row.detected = "by Snakemake: the job ended by a signal"
    again = scenario.finish(project)
    resumed, steps = re.search(r"resuming at step (\d+) of (\d+)", again.output).groups()
    assert int(resumed) % 200 == 0 and 200 <= int(resumed) < int(steps) == 3000
    scenario.row.lost = f"nothing of the {resumed} steps before the checkpoint"


@pytest.mark.fault("snakemake killed, its job lives on")
def test_snakemake_killed_and_its_job_lives_on(project, scenario):
    scenario.injected("`kill -9` of snakemake while it extracts; then, at once, `snakemake`")
    run, job = project.start_and_reach(10)
    run.kill()
    job.suspend()  # so that it certainly exists when the next run begins
    kept = project.finished_ranges()
    scenario.nothing_wrong_served(project)
    again = project.start()
    again.wait_until(lambda: "waiting: this job" in again.output, "the second job waits")
    assert project.finished_ranges() == kept
    job.resume()
    assert again.wait() == 0, again.output
    scenario.row.detected = "by the lock that died with it, and by the job's own lock"
    scenario.saw(again, "waiting: this job", project)
    assert "was killed, or its machine went down" in again.output
    scenario.is_whole(project)
    scenario.row.finished_by = "that `snakemake`; nothing to unlock"
    scenario.lost(redone(kept, project.finished_ranges()), len(kept), "finished ranges")


@pytest.mark.faults
@pytest.mark.fault("the machine goes down")
def test_everything_killed_at_once(project, scenario):
    scenario.injected("`kill -9` of snakemake and all its jobs at once")
    run, _ = project.start_and_reach(20)
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    kept = project.finished_ranges()
    scenario.nothing_wrong_served(project)
    again = scenario.finish(project, by="`snakemake`; nothing to unlock")
    scenario.row.detected = "by the lock that died with it"
    scenario.saw(again, "was killed, or its machine went down", project)
    scenario.lost(redone(kept, project.finished_ranges()), len(kept), "finished ranges")

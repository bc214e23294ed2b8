"""A full disk and exhausted memory: in extraction, in training, and while a table is written."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NO_SPACE = "No space left on device"


@pytest.fixture
def disk(project):
    """Put the project's results on a separate file system, whose size can be changed."""
    results, aside = project.path / "results", project.path / "aside"

    def mount(*options: str) -> bool:
        command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(results)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def resize(kilobytes: int) -> None:
        """Set the size to the used bytes plus `more`."""
        used = shutil.disk_usage(results).used // 1024
        assert mount("-o", f"remount,size={used + kilobytes}k")

    project.forget("activations", "saes")
    results.rename(aside)
    results.mkdir()
    if not mount("-o", "size=64m"):
        pytest.skip("a file system of a given size can be mounted by root only")
    shutil.copytree(aside, results, dirs_exist_ok=True)
    yield resize
    for run in project.runs:
        run.end()
    subprocess.run(["umount", str(results)], check=True)


@pytest.mark.faults
@pytest.mark.fault("disk full while extracting")
def test_disk_full_while_extracting(project, scenario, disk):
    scenario.injected("results on a tmpfs that ends in the middle of the store; then more room")
    disk(1000)
    run = project.run_once()
    assert run.process.returncode != 0
    kept = project.finished_ranges()
    assert 0 < len(kept) < 150
    scenario.row.detected = "by the writer of the store, which names the file"
    scenario.saw(run, NO_SPACE, project)
    assert "finished ranges are kept" in scenario.row.saw
    scenario.nothing_wrong_served(project)
    disk(32_000)
    scenario.finish(project)
    now = project.finished_ranges()
    scenario.lost(sum(now[part] != kept[part] for part in kept), len(kept), "finished ranges")


@pytest.mark.faults
@pytest.mark.fault("disk full while training")
def test_disk_full_while_training(project, scenario, disk):
    scenario.injected("a file fills the tmpfs after the first checkpoint; then it is removed")
    run, _ = project.train_and_reach_checkpoint()
    disk(0)
    assert run.wait() != 0
    scenario.row.detected = "by the checkpoint, which names the file"
    scenario.saw(run, NO_SPACE, project)
    assert "state.safetensors" in scenario.row.saw
    scenario.nothing_wrong_served(project)
    disk(32_000)
    again = scenario.finish(project)
    assert "resuming at step" in again.output
    scenario.row.lost = "nothing before the last checkpoint"


@pytest.mark.faults
@pytest.mark.fault("disk full where a table is written")
def test_disk_full_where_a_table_is_written(project, scenario, disk, undisturbed):
    scenario.injected("no byte is left when `table4` writes; then more room")
    for name in ("activations", "saes", "measurements"):
        shutil.copytree(
            undisturbed.path / "results" / name, project.path / "results" / name, dirs_exist_ok=True
        )
    (project.path / "results/logs/.table4.log.lock").touch()
    disk(0)
    with pytest.raises(OSError):  # the rest of the last disk block
        (project.path / "results/ballast").write_bytes(bytes(1 << 20))
    run = project.run_once()
    assert run.process.returncode != 0
    scenario.row.detected = "by the writer of the table, which names the file"
    scenario.saw(run, NO_SPACE, project)
    assert "table4.csv" in scenario.row.saw
    scenario.nothing_wrong_served(project)
    (project.path / "results/ballast").unlink()
    disk(32_000)
    scenario.finish(project)
    scenario.row.lost = "nothing"


@pytest.fixture
def memory_group():
    """Return a function that limits a process's memory, so that the kernel kills it."""
    for parent, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = Path("/sys/fs/cgroup", parent, f"clip-sae-fault-{os.getpid()}")
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            break
        group.rmdir()
    else:
        pytest.skip("a memory group (cgroup) can be made by root only, and not everywhere")

    def starve(job) -> None:
        # Before the job enters: memory that it holds already counts for its old group.
        (group / limit).write_text("200K")
        (group / "cgroup.procs").write_text(str(job.pid))

    yield starve
    group.rmdir()


@pytest.mark.faults
@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.fault("out of memory in an extraction")
def test_no_memory_in_extraction(project, scenario, memory_group, retries):
    scenario.injected(
        "its memory group is limited after 20 of 150 ranges: the kernel kills it"
        + ("; `--retries 1`" if retries else "")
    )
    run, job = project.start_and_reach(20, "--retries", str(retries))
    memory_group(job)
    job.wait(60)
    kept = project.finished_ranges()
    assert 20 <= len(kept) < 150
    assert (run.wait() == 0) == bool(retries), run.output
    scenario.nothing_wrong_served(project)
    scenario.row.detected = "by Snakemake: the job ended by a signal"
    scenario.saw(run, "SIGKILL", project)
    if retries:
        scenario.is_whole(project)
        scenario.row.finished_by = "itself: the second attempt"
    else:
        scenario.finish(project)
    now = project.finished_ranges()
    scenario.lost(sum(now[part] != kept[part] for part in kept), len(kept), "finished ranges")


@pytest.mark.faults
@pytest.mark.fault("out of memory in a training")
def test_no_memory_in_training(project, scenario, memory_group):
    scenario.injected("its memory group is limited after a checkpoint: the kernel kills it")
    run, job = project.train_and_reach_checkpoint()
    memory_group(job)
    assert run.wait() != 0
    assert not [*project.path.glob("results/saes/*/*/*/COMPLETE.json")]
    scenario.nothing_wrong_served(project)
    scenario.row.detected = "by Snakemake: the job ended by a signal"
    scenario.saw(run, "SIGKILL", project)
    again = scenario.finish(project)
    assert "resuming at step" in again.output
    scenario.row.lost = "nothing before the checkpoint"

"""A node that drops and comes back: slurmd and its jobs killed, on a Slurm that the test starts."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import cluster
import pytest
from slurm_arguments import HERE, WITHOUT_ACCOUNTING, write_partitions

PROFILE = ["--workflow-profile", "profiles/slurm", "--slurm-partition-config", "parts.yaml"]
RUN = [*PROFILE, *WITHOUT_ACCOUNTING, *HERE, "--set-scatter", "extraction=1", "units=1"]


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def node():
    """The only node of a Slurm on this machine."""
    if reason := cluster.missing():
        pytest.skip(reason)
    cluster.start()
    yield slurm("sinfo", "-h", "-N", "-o", "%N").split()[0]
    cluster.stop()


def pid_of_slurmd() -> int:
    [path] = re.findall(r"SlurmdPidFile\s*=\s*(\S+)", slurm("scontrol", "show", "config"))
    return int(Path(path).read_text())


def drop(node: str) -> None:
    """Kill slurmd and every process of its jobs at once, as a power cut does."""
    steps = slurm("pgrep", "-f", "^slurmstepd:").split()
    daemon = pid_of_slurmd()
    for step in steps:
        for group in {os.getpgid(int(pid)) for pid in slurm("pgrep", "-P", step).split()}:
            os.killpg(group, signal.SIGKILL)
        os.kill(int(step), signal.SIGKILL)
    os.kill(daemon, signal.SIGKILL)
    slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=fault")


def come_back(node: str) -> None:
    time.sleep(5)  # Slurm ends the jobs of a node that is down
    slurm("scontrol", "update", f"nodename={node}", "state=resume")
    cluster.start_node()


@pytest.mark.faults
@pytest.mark.fault("a Slurm node drops and returns")
def test_a_node_drops_while_it_extracts_and_returns(project, scenario, node):
    write_partitions(project.path)
    scenario.injected("slurmd and its jobs killed after 20 of 150 ranges; slurmd started again")
    project.forget("activations", "saes")
    run = project.start(*RUN)
    run.wait_until(lambda: len(project.finished_ranges()) >= 20, "20 ranges are written", 300)
    drop(node)
    kept = project.finished_ranges()
    scenario.nothing_wrong_served(project)
    come_back(node)
    failed = run.wait(600) != 0
    scenario.nothing_wrong_served(project)
    scenario.row.detected = "by Slurm, which says NODE_FAIL; by Snakemake, which asks it"
    if failed:
        scenario.saw(run, "Error in rule", project)
        scenario.finish(project, *RUN)
    else:
        scenario.is_whole(project)
        scenario.row.saw = "the job's failure and its second attempt"
        scenario.row.finished_by = "itself: the profile's `retries`"
    now = project.finished_ranges()
    scenario.lost(sum(now[part] != kept[part] for part in kept), len(kept), "finished ranges")

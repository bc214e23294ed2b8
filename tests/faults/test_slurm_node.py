"""A node that drops and comes back: slurmd and its jobs killed, on a real Slurm of one machine.

It kills slurmd and every job of the node, also those of others: it runs only where
CLIP_SAE_MAY_KILL_SLURMD=1 says that nobody else uses this Slurm, and as root.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROFILE = "profiles/slurm"


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def node():
    """The one node of this machine's Slurm."""
    if os.environ.get("CLIP_SAE_MAY_KILL_SLURMD") != "1":
        pytest.skip("kills all jobs of this machine's Slurm: CLIP_SAE_MAY_KILL_SLURMD=1 allows it")
    if os.geteuid() != 0 or not all(map(shutil.which, ("slurmctld", "slurmd", "sinfo"))):
        pytest.skip("needs root and a Slurm of its own: slurmctld, slurmd, sinfo")
    nodes = slurm("sinfo", "-h", "-N", "-o", "%N").split()
    if set(nodes) != {socket.gethostname().split(".")[0]}:
        pytest.skip("no Slurm with this machine as its only node is running")
    return nodes[0]


def pid_of_slurmd() -> int:
    [path] = re.findall(r"SlurmdPidFile\s*=\s*(\S+)", slurm("scontrol", "show", "config"))
    return int(Path(path).read_text())


def state_of(node: str) -> str:
    return slurm("sinfo", "-h", "-n", node, "-o", "%T").split()[0]


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
    subprocess.run(["slurmd"], check=True, timeout=60)
    slurm("scontrol", "update", f"nodename={node}", "state=resume")
    deadline = time.monotonic() + 60
    while state_of(node) not in ("idle", "mixed", "allocated"):
        assert time.monotonic() < deadline, f"{node} is {state_of(node)}"
        time.sleep(0.5)


@pytest.mark.faults
@pytest.mark.fault("a Slurm node drops and returns")
def test_a_node_drops_while_it_extracts_and_returns(project, scenario, node):
    if not (project.path / PROFILE).exists():
        pytest.skip(f"there is no {PROFILE}")
    scenario.injected("slurmd and its jobs killed after 20 of 150 ranges; slurmd started again")
    project.forget("activations", "saes")
    run = project.start("--workflow-profile", PROFILE)
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
        scenario.finish(project, "--workflow-profile", PROFILE)
    else:
        scenario.is_whole(project)
        scenario.row.saw = "the job's failure and its second attempt"
        scenario.row.finished_by = "itself: the profile's `retries`"
    now = project.finished_ranges()
    scenario.lost(sum(now[part] != kept[part] for part in kept), len(kept), "finished ranges")

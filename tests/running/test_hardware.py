"""Each job gets its own GPU: locks between real processes, and devices chosen by a scheduler."""

import os
import signal
import subprocess
import sys
import time

import pytest

from clip_sae.running.gpus import SCHEDULERS, GpuClaim, local_gpus, visible_gpus

HOLD = """
import sys, time
from pathlib import Path
from clip_sae.running.gpus import GpuClaim
claim = GpuClaim({n}, folder=Path({folder!r}), say=lambda text: print("says", text, flush=True))
print("has", *claim.devices, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def no_scheduler(monkeypatch):
    for name in SCHEDULERS:
        monkeypatch.delenv(name, raising=False)


def hold(folder, visible, n=1):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(n=n, folder=str(folder))],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": visible},
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().split()


def test_jobs_get_different_gpus_and_a_killed_one_gives_its_own_back(tmp_path):
    first, found_first = hold(tmp_path, "2,GPU-abc")
    second, found_second = hold(tmp_path, "2,GPU-abc")
    third, said = hold(tmp_path, "2,GPU-abc")
    try:
        assert found_first == ["has", "2"] and found_second == ["has", "GPU-abc"]
        assert said[0] == "says" and str(first.pid) in said[-2] + said[-1]
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert third.stdout.readline().split() == ["has", "2"]
    finally:
        for process in (first, second, third):
            process.kill()
            process.wait()


def test_two_gpus_are_taken_together_or_not_at_all(tmp_path, monkeypatch):
    """A job that waits for a second GPU holds none, so that two such jobs cannot deadlock."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    mine = GpuClaim(1, folder=tmp_path)
    waiting, said = hold(tmp_path, "0,1", n=2)
    try:
        assert said[0] == "says"
        time.sleep(0.2)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        other = GpuClaim(1, folder=tmp_path)  # would wait for ever if "1" were held
        assert other.devices == ["1"]
        mine.release()
        other.release()
        assert waiting.stdout.readline().split() == ["has", "0", "1"]
    finally:
        waiting.kill()
        waiting.wait()


def test_the_claim_is_what_torch_will_see(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    claim = GpuClaim(1, folder=tmp_path)
    assert claim.devices == ["3"] and os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    claim.release()


def test_a_scheduler_has_chosen_already(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    claims = [GpuClaim(1, folder=tmp_path) for _ in range(2)]  # it may be device 0 of another node
    assert [claim.devices for claim in claims] == [["0"], ["0"]]
    assert not list(tmp_path.iterdir())


def test_jobs_of_one_allocation_share_its_gpus_by_locks(tmp_path, monkeypatch):
    """A whole node from a scheduler, and several jobs of a local snakemake within it."""
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    first, found = hold(tmp_path, "0,1")
    second, other = hold(tmp_path, "0,1")
    for process in (first, second):
        process.kill()
        process.wait()
    assert [found, other] == [["has", "0"], ["has", "1"]]


def test_more_gpus_than_there_are_takes_all_and_none_takes_none(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    claim = GpuClaim(4, folder=tmp_path)
    assert claim.devices == ["0", "1"]
    claim.release()
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert visible_gpus() == [] and local_gpus() == 0
        assert GpuClaim(1, folder=tmp_path).devices == []

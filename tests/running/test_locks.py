"""Locks: one living holder, reported to the second process; freed when it dies, however it dies."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clip_sae.running import locks
from clip_sae.running.locks import AnotherRun, LockTaken, NoLocks, begin_run, take, wait_for

SRC = Path(__file__).resolve().parents[2] / "src"
HOLD = """
import os, sys, time
sys.path.insert(0, {src!r})
from pathlib import Path
from clip_sae.running.locks import take
take(Path({path!r}))
{then}
print("held", flush=True)
sys.stdin.read()
"""
# A worker of a pool, which outlives its parent for a while
FORK = "os.fork() or time.sleep(60)"


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds the lock file until its standard input is closed."""
    started = []

    def start(path: Path = tmp_path / "lock", then: str = "") -> subprocess.Popen:
        code = HOLD.format(src=str(SRC), path=str(path), then=then)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **pipes)
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_the_living_holder_is_named(holder, tmp_path):
    process = holder()
    with pytest.raises(LockTaken) as raised:
        take(tmp_path / "lock")
    assert raised.value.holder.pid == process.pid
    assert raised.value.holder.folder == os.getcwd()


@pytest.mark.parametrize("then", ["", FORK])
def test_a_killed_holder_leaves_its_record_and_no_lock(holder, tmp_path, then):
    """The lock is freed even if a child of its holder lives on."""
    process = holder(then=then)
    process.kill()
    process.wait()
    assert take(tmp_path / "lock").pid == process.pid


def test_a_holder_that_ends_by_itself_leaves_no_record(holder, tmp_path):
    process = holder()
    process.stdin.close()
    assert process.wait() == 0
    assert take(tmp_path / "lock") is None


def test_waiting_ends_with_the_holder_and_is_told_once(holder, tmp_path):
    process, told = holder(), []

    def tell(who):
        told.append(who.pid)
        process.kill()

    assert wait_for(tmp_path / "lock", tell, poll=0.01).pid == process.pid
    assert told == [process.pid]


def test_a_record_that_cannot_be_read_names_nobody(holder, tmp_path):
    holder()
    (tmp_path / "lock").write_text("{")
    with pytest.raises(LockTaken, match="held by another process"):
        take(tmp_path / "lock")


@pytest.mark.parametrize("where", ["open", "lock"])
def test_where_there_are_no_locks_it_is_said(tmp_path, monkeypatch, where):
    if where == "open":
        (tmp_path / "results").write_text("no folder")
    else:

        def none(*_):
            raise OSError(37, "No locks available")

        monkeypatch.setattr(fcntl, "lockf", none)
    with pytest.raises(NoLocks, match="cannot be"):
        take(tmp_path / "results" / "lock")
    said = []
    begin_run(tmp_path / "results", said.append)
    assert len(said) == 1 and "two runs at once" in said[0]


def test_a_full_disk_keeps_the_lock_without_its_record(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert take(tmp_path / "lock") is None
    assert (tmp_path / "lock").read_text() == ""


def test_a_second_run_is_refused_with_who_and_what_to_do(holder, tmp_path):
    process = holder(tmp_path / "results" / ".running")
    with pytest.raises(AnotherRun) as raised:
        begin_run(tmp_path / "results", print)
    text = str(raised.value)
    assert f"process {process.pid} on " in text and "Wait until it ends" in text


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_run_after_a_killed_one_says_so(holder, tmp_path, monkeypatch, elsewhere):
    process, said = holder(tmp_path / ".running"), []
    process.kill()
    process.wait()
    if elsewhere:
        monkeypatch.setattr(locks.socket, "gethostname", lambda: "another")
    begin_run(tmp_path, said.append)
    assert f"process {process.pid} " in said[0] and "was killed" in said[0]
    assert ("If it still runs on" in said[0]) == elsewhere


def test_waiting_takes_no_time_where_the_lock_is_free(tmp_path):
    start = time.monotonic()
    assert wait_for(tmp_path / "lock", pytest.fail) is None
    assert time.monotonic() - start < 0.4


def test_a_shared_lock_is_held_beside_others_and_never_beside_one_alone(holder, tmp_path):
    shared = f"take(Path({str(tmp_path / 'stores')!r}), shared=True)"
    first = holder(tmp_path / "a", then=shared)
    second = holder(tmp_path / "b", then=shared)
    with pytest.raises(LockTaken):
        take(tmp_path / "stores")
    for process in (first, second):
        process.stdin.close()
        process.wait()
    alone = holder(tmp_path / "stores")
    with pytest.raises(LockTaken) as raised:
        take(tmp_path / "stores", shared=True)
    assert raised.value.holder.pid == alone.pid

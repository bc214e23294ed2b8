"""Locks that die with the process that holds them, and say who that is.

A run of the workflow holds one, so that two runs do not remove each other's outputs; a job holds
one, so that a job whose snakemake was killed and its successor do not write the same files. They
are POSIX record locks: the kernel frees them when the process ends, however it ends, so nobody has
to unlock by hand as with Snakemake's own lock, which the profiles switch off (`nolock`). A forked
child does not inherit them. Standard library only.
"""

import atexit
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

RUN_LOCK = ".running"  # in the results folder


@dataclass(frozen=True)
class Holder:
    """A process that holds, or held, a lock; `since` is its local time, `folder` where it runs."""

    pid: int
    host: str
    since: str
    folder: str

    @classmethod
    def this_process(cls) -> "Holder":
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(os.getpid(), socket.gethostname(), now, os.getcwd())

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}, in {self.folder}"


class LockTaken(RuntimeError):
    """Another living process holds the lock; `holder` is None where its record cannot be read."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        super().__init__(f"{path} is held by {holder or 'another process'}.")
        self.holder = holder


class NoLocks(RuntimeError):
    """The file system gives no locks, or not here."""


def take(path: Path, shared: bool = False) -> Holder | None:
    """Hold the lock file at `path` until this process ends.

    A `shared` lock is held by many at once, beside no other; it has no record of who they are.

    Returns who held it last and did not live to give it back: its process was killed or its machine
    went down. None if there is nobody.

    Raises:
        LockTaken: a living process holds it.
        NoLocks: the lock file cannot be opened for writing or locked; says why.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise NoLocks(f"{path} cannot be opened ({error.strerror})") from error
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: both mean that it is taken
        holder = _read(descriptor)
        os.close(descriptor)
        raise LockTaken(path, holder) from None
    except OSError as error:
        os.close(descriptor)
        raise NoLocks(f"{path} cannot be locked ({error.strerror})") from error
    left_by = _read(descriptor)
    if shared:
        return left_by
    # The descriptor stays open to the end: closing it would free the lock.
    _write(descriptor, json.dumps(asdict(Holder.this_process())))
    # The record is emptied where the process ends by itself: what stays tells of a sudden death.
    atexit.register(_write, descriptor, "")
    return left_by


def wait_for(
    path: Path,
    tell: Callable[[Holder | None], None],
    poll: float = 0.5,
    shared: bool = False,
) -> Holder | None:
    """As `take`, but wait until it is free; `tell` is called once, with who holds it."""
    told = False
    while True:
        try:
            return take(path, shared)
        except LockTaken as taken:
            if not told:
                tell(taken.holder)
            told = True
        time.sleep(poll)


def _read(descriptor: int) -> Holder | None:
    try:
        return Holder(**json.loads(os.pread(descriptor, 1 << 16, 0)))
    except (OSError, ValueError, TypeError):
        return None


def _write(descriptor: int, text: str) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    except OSError:
        pass  # a full disk: the lock holds without its record


class AnotherRun(RuntimeError):
    """Another living snakemake works on the same results."""


def begin_run(results: Path, tell: Callable[[str], None]) -> None:
    """Hold the results folder for this process; `tell` gets what the user should know.

    Raises:
        AnotherRun: says which process works there, and what to do.
    """
    try:
        left_by = take(results / RUN_LOCK)
    except LockTaken as taken:
        raise AnotherRun(
            f"another snakemake ({taken.holder or 'its process is not known'}) is working on "
            f"{results}; nothing was started. Wait until it ends, or stop it, and run again. A "
            "dry run (-n) is possible meanwhile, and so is a run with other `results` in its "
            "config."
        ) from None
    except NoLocks as error:
        tell(f"two runs at once in {results} would not be noticed: {error}. Start one at a time.")
        return
    if left_by is not None:
        tell(_how_it_ended(left_by))


def _how_it_ended(left_by: Holder) -> str:
    sentence = (
        f"the snakemake before ({left_by}) was killed, or its machine went down. What it finished "
        "is kept, what it did not is made now."
    )
    if left_by.host != socket.gethostname():
        # Where a network disk keeps locks to each machine, it may be alive.
        sentence += f" If it still runs on {left_by.host}, stop one of the two."
    return sentence

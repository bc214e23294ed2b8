"""Locks that the kernel frees when their process ends, with a record of that process.

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
    """A process that holds or held a lock; `since`: local time; `folder`: its working folder."""

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
    """The file system supports no locks, or not in this folder."""


def take(path: Path, shared: bool = False) -> Holder | None:
    """Hold the lock file at `path` until this process ends.

    Many processes may hold a `shared` lock at once, which excludes an exclusive one; it records no
    holders.

    Returns the last holder if it did not free the lock, because its process was killed or its
    machine went down; else None.

    Raises:
        LockTaken: a living process holds it.
        NoLocks: the lock file cannot be opened for writing or locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise NoLocks(f"{path} cannot be opened ({error.strerror})") from error
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: another process holds it
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
    # A clean exit empties the record, so a non-empty one means the process was killed.
    atexit.register(_write, descriptor, "")
    return left_by


def wait_for(
    path: Path,
    say: Callable[[Holder | None], None],
    poll: float = 0.5,
    shared: bool = False,
) -> Holder | None:
    """Wait until the lock is free, then `take` it; call `say` once with the holder."""
    said = False
    while True:
        try:
            return take(path, shared)
        except LockTaken as taken:
            if not said:
                say(taken.holder)
            said = True
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
    """Another running snakemake works on the same results."""


def begin_run(results: Path, say: Callable[[str], None]) -> None:
    """Lock the results folder for this process; `say` gets messages for the user.

    Raises:
        AnotherRun: another process works there.
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
        say(f"two runs at once in {results} would not be noticed: {error}. Start one at a time.")
        return
    if left_by is not None:
        say(_how_it_ended(left_by))


def _how_it_ended(left_by: Holder) -> str:
    sentence = (
        f"the last snakemake ({left_by}) was killed, or its machine went down. This run keeps its "
        "finished files and makes the rest."
    )
    if left_by.host != socket.gethostname():
        # It may be alive if a network disk does not share locks between machines.
        sentence += f" If it still runs on {left_by.host}, stop one of the two."
    return sentence

"""One run of the workflow at a time in a results folder, said in sentences.

Snakemake's own lock outlives a killed run and has to be removed by hand; this one dies with its
process (`locks`), so the profiles switch the other off (`nolock`). Standard library only.
"""

import socket
from collections.abc import Callable
from pathlib import Path

from clip_sae.running.locks import Holder, LockTaken, NoLocks, take

LOCK = ".running"


class AnotherRun(RuntimeError):
    """Another living snakemake works on the same results."""


def begin_run(results: Path, tell: Callable[[str], None]) -> None:
    """Hold the results folder for this process; `tell` gets what the user should know.

    Raises:
        AnotherRun: says which process works there, and what to do.
    """
    try:
        left_by = take(results / LOCK)
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

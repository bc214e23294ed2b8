"""Sections run one after another, each within its own time limit and the run's.

A section that fails or comes late is a failed check, and the next one starts: one fault must not
cost the other results of a run on a machine that is paid by the hour.
"""

import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import Bench

LEAST_SECONDS = 5  # a section with less time left than this does not start


class Late(BaseException):
    """The time limit has passed. Not an Exception, so that no handler in a section catches it."""


@dataclass(frozen=True)
class Section:
    """One part of the run: `run` gets the bench; `limit` is in seconds."""

    name: str
    run: Callable[[Bench], None]
    limit: int


def run_sections(bench: Bench, sections: list[Section], seconds: int, out: Path) -> None:
    """Run the sections in order and save the report after each.

    Args:
        seconds: limit of all sections together, counted from the report's start.
        out: folder of gpu.json.
    """
    report = bench.report
    for section in sections:
        left = seconds - (time.time() - report.started)
        if left < LEAST_SECONDS:
            report.check(section.name, False, "skipped: no time left")
            continue
        limit = int(min(section.limit, left))
        start = time.time()
        try:
            with time_limit(limit):
                section.run(bench)
        except Late:
            report.check(section.name, False, f"stopped after {limit} s")
        except Exception as error:
            report.check(section.name, False, failure(error))
            traceback.print_exc(limit=-4)
        report.seconds[section.name] = round(time.time() - start, 1)
        if bench.cuda:
            torch.cuda.empty_cache()
        report.save(out)
    report.save(out)


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise Late in the main thread after so many seconds (between two calls into torch)."""

    def ring(*_: object) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def failure(error: Exception) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {str(error)[:300]}"

"""Checks, timings and the report of one run.

A check compares two results and can fail. A measurement states numbers and cannot.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from pretend_fakes import DEVICE_NAME

# Label, precision of float32 products (see `matmul_precision`), dtype.
PRECISIONS = (
    ("float32", "highest", torch.float32),
    ("tf32", "high", torch.float32),
    ("bfloat16", "highest", torch.bfloat16),
)


@dataclass(frozen=True)
class Check:
    """One comparison: its name, whether it passed, and the figure that decided it."""

    name: str
    passed: bool
    value: str


@dataclass
class Report:
    """All results of a run; `save` writes them as gpu.json.

    Attributes:
        checks: in the order in which they ran.
        speed: {table: {row: {column: number}}}; a column's name is its unit.
        seconds: {section: how long it took}.
        kernels: {subject: [[operation, milliseconds, calls]]} of one training step.
        notes: sentences about omitted checks, with reasons.
        environment: versions, device, settings.
    """

    checks: list[Check] = field(default_factory=list)
    speed: dict = field(default_factory=dict)
    seconds: dict = field(default_factory=dict)
    kernels: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    environment: dict = field(default_factory=dict)
    started: float = field(default_factory=time.time)

    def say(self, *words: object) -> None:
        """Print a line that begins with the seconds since the start."""
        print(f"{time.time() - self.started:6.1f}s", *words, flush=True)

    def check(self, name: str, passed: bool, value: object = "") -> None:
        """Record one check."""
        self.checks.append(Check(name, bool(passed), str(value)))
        self.say("ok    " if passed else "WRONG ", name, value)

    def note(self, sentence: str) -> None:
        """Record an omitted check."""
        self.notes.append(sentence)
        self.say("note  ", sentence)

    def row(self, table: str, row: str, **columns: float) -> None:
        """Record one row of a table of measurements."""
        found = {name: float(f"{float(value):.4g}") for name, value in columns.items()}
        self.speed.setdefault(table, {})[row] = found
        self.say(f"{table:14s} {row:44s}", found)

    def failed(self) -> list[Check]:
        """Return the checks that did not pass."""
        return [check for check in self.checks if not check.passed]

    def save(self, folder: Path) -> None:
        """Write gpu.json into `folder`."""
        found = {name: value for name, value in vars(self).items() if name != "started"}
        found["checks"] = [asdict(check) for check in self.checks]
        (folder / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")


@dataclass(frozen=True)
class Bench:
    """The arguments of every section.

    Attributes:
        device: the device under test; the CPU computes the reference.
        tiny: small sizes, which test that every line runs but measure no speed.
        folder: scratch files, in memory where the machine allows; the run deletes them at its end.
        peers: folder with other packages' trainers, unpacked; None where they are installed.
    """

    device: torch.device
    tiny: bool
    folder: Path
    report: Report
    peers: Path | None = None

    @property
    def cuda(self) -> bool:
        """True if the device under test is a GPU."""
        return self.device.type == "cuda"

    @property
    def pretend(self) -> bool:
        """True for the GPU of pretend_cuda.py, which has no kernels."""
        return self.cuda and torch.cuda.get_device_name() == DEVICE_NAME

    def wait(self) -> None:
        """Wait until the device has finished all queued work."""
        if self.cuda:
            torch.cuda.synchronize()

    def reset_peak(self) -> None:
        """Reset the count of the device's memory."""
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_gigabytes(self) -> float:
        """Return the most memory that tensors took since `reset_peak`; 0 on the CPU."""
        return torch.cuda.max_memory_allocated() / 1e9 if self.cuda else 0.0

    def compare(self, name: str, found: object, expected: object, tolerance: float) -> None:
        """Check that two arrays have one shape and a relative error below `tolerance`."""
        error = relative_error(found, expected)
        self.report.check(name, error < tolerance, f"{error:.1e}")

    def milliseconds(
        self, action: Callable[[], object], times: int = 20, warm_up: int = 3
    ) -> float:
        """Return the median time of one call, by the device's own clock if it has one."""
        if self.tiny:
            times, warm_up = 2, 1
        for _ in range(warm_up):
            action()
        self.wait()
        measure = self._by_events if self.cuda else _by_host_clock
        return statistics.median(measure(action) for _ in range(times))

    def _by_events(self, action: Callable[[], object]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        action()
        end.record()
        self.wait()
        return start.elapsed_time(end)


def _by_host_clock(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return 1e3 * (time.perf_counter() - start)


def relative_error(found: object, expected: object) -> float:
    """Return ‖found − expected‖ / ‖expected‖ in float64; infinite for different shapes."""
    found, expected = (torch.as_tensor(x).detach().cpu().double() for x in (found, expected))
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).norm() / expected.norm().clamp_min(1e-30))


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Set the precision of float32 products: "highest" is float32, "high" is TF32 on a GPU."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def convolution_tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in convolutions, which torch allows by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before

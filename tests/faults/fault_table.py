"""Observations of each fault, and their table: written by the run, never by hand."""

import time
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("fault", "injected", "detected", "lost", "what the user saw", "finished by")

TEXT = """# Faults

Each fault is injected into a real run of a small project (`tests/faults/fault_project.py`). The
table is written by `make faults` from what was observed. "Lost" counts what was finished before the
fault and had to be made again. After each fault no table stood that was not the undisturbed run's,
and in the end all tables, SAEs and stores were byte for byte those of the undisturbed run.
`docs/faults.md` says what to do in each case.

"""


@dataclass
class Observation:
    """One row of the table; a test fills it, the outcome comes from pytest."""

    fault: str
    injected: str = ""
    detected: str = ""
    lost: str = ""
    saw: str = ""
    finished_by: str = ""
    outcome: str = "not finished"

    def cells(self) -> tuple[str, ...]:
        if self.outcome != "passed":
            return (self.fault, self.injected, f"**{self.outcome}**", "", "", "")
        return self.fault, self.injected, self.detected, self.lost, self.saw, self.finished_by


def write_table(path: Path, rows: list[Observation]) -> None:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row.cells()) + " |")
    passed = sum(row.outcome == "passed" for row in rows)
    closing = f"\n{passed} of {len(rows)} faults as they should be, {time.strftime('%Y-%m-%d')}.\n"
    path.write_text(TEXT + "\n".join(lines) + "\n" + closing)

"""One undisturbed run, copies of it to disturb, and the table of observations."""

import shutil
from pathlib import Path

import pytest
from fault_project import FaultProject, Run, new_fault_project, without_places
from fault_table import Observation, write_table

ROWS = pytest.StashKey[list[Observation]]()
ROW = pytest.StashKey[Observation]()


def pytest_addoption(parser):
    parser.addoption("--fault-table", type=Path, help="write what was observed of each fault here")


def pytest_configure(config):
    config.stash[ROWS] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    row = item.stash.get(ROW, None)
    if row is not None and (report.when == "call" or report.outcome != "passed"):
        reason = f": {report.longrepr[2]}" if report.skipped else ""
        row.outcome = report.outcome + reason.replace("Skipped: ", "")
    return report


def pytest_sessionfinish(session):
    path = session.config.getoption("--fault-table", default=None)
    if path and session.config.stash.get(ROWS, []):
        write_table(path, session.config.stash[ROWS])


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> FaultProject:
    """The project, built in one undisturbed run; never changed."""
    project = new_fault_project(tmp_path_factory.mktemp("undisturbed") / "project")
    run = project.run_once()
    assert run.wait() == 0, run.output
    return project


@pytest.fixture
def project(undisturbed: FaultProject, tmp_path: Path):
    """A copy of it; the fixture ends leftover processes."""
    path = tmp_path / "project"
    shutil.copytree(undisturbed.path, path, symlinks=True)
    copy = FaultProject(path)
    yield copy
    for run in copy.runs:
        run.end()


class Scenario:
    """The checks of every fault's test; they fill the row of the table."""

    def __init__(self, row: Observation, undisturbed: FaultProject) -> None:
        self.row, self.undisturbed = row, undisturbed

    def injected(self, how: str) -> None:
        self.row.injected = how

    def saw(self, run: Run, text: str, project: FaultProject) -> None:
        """Note the line of the output that holds `text` as the message to the user."""
        lines = [line for line in run.output.splitlines() if text in line]
        assert lines, f"nothing said {text!r}:\n{run.output}"
        self.row.saw = without_places(lines[-1], project)

    def lost(self, redone: int, finished: int, what: str) -> None:
        """Note the share of finished work that was made again, which must be none."""
        assert redone == 0
        self.row.lost = f"{redone} of {finished} {what}"

    def is_whole(self, project: FaultProject) -> None:
        """Check that all files of the undisturbed run exist, byte for byte.

        Files of another config may exist next to them, under other names.
        """
        found, right = project.content(), self.undisturbed.content()
        assert {name for name in right if found.get(name) != right[name]} == set()

    def nothing_wrong_served(self, project: FaultProject) -> None:
        """Check that each table is absent or equals the undisturbed run's."""
        right = self.undisturbed.tables()
        for name, found in project.tables().items():
            assert found == right[name], f"{name} stands and is wrong"

    def finish(self, project: FaultProject, *arguments: str, by: str = "`snakemake`") -> Run:
        """Run snakemake once more; check that it completes everything and leaves nothing to do."""
        run = project.run_once(*arguments)
        assert run.process.returncode == 0, run.output
        self.is_whole(project)
        again = project.run_once()
        assert "Nothing to be done" in again.output, again.output
        self.row.finished_by = by
        return run


@pytest.fixture
def scenario(request, undisturbed) -> Scenario:
    """The row of this test's fault, named by its mark `fault`."""
    row = Observation(request.node.get_closest_marker("fault").args[0])
    request.config.stash[ROWS].append(row)
    request.node.stash[ROW] = row
    return Scenario(row, undisturbed)

"""Projects that run on a real Slurm, and the local run with the expected results."""

from collections.abc import Callable
from pathlib import Path

import cluster
import pytest
from slurm_arguments import HERE, TARGETS, WITHOUT_ACCOUNTING, write_partitions
from small_project import Project, new_project


@pytest.fixture(scope="session")
def local(tmp_path_factory) -> Project:
    """The small project, made by the local executor."""
    project = new_project(tmp_path_factory.mktemp("local") / "project")
    project.run("--cores", "2", *TARGETS)
    return project


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """The small project with nothing made, and partitions of the test cluster."""
    project = new_project(tmp_path / "project")
    write_partitions(project.path)
    return project


@pytest.fixture
def slurm() -> Callable[[bool], list[str]]:
    """Start a cluster; return the arguments with which snakemake runs on it."""

    def start(accounting: bool) -> list[str]:
        if reason := cluster.missing(accounting):
            pytest.skip(reason)
        cluster.start(accounting)
        found = ["--workflow-profile", "profiles/slurm", "--slurm-partition-config", "parts.yaml"]
        return [*found, *HERE, *([] if accounting else WITHOUT_ACCOUNTING)]

    yield start
    cluster.stop()

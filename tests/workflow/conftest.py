"""The small project, built once per session and copied for each test."""

import shutil
from pathlib import Path

import pytest
from small_project import Project, new_project


@pytest.fixture(scope="session")
def built(built_once) -> Project:
    """The small project with everything built; tests copy it and never change it."""
    return Project(built_once("small_project", lambda path: new_project(path).run("--cores", "2")))


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """Copy the built project, times kept, for edits."""
    path = tmp_path / "project"
    shutil.copytree(built.path, path, symlinks=True)
    return Project(path)

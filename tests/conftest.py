"""Setup of all tests: one thread for each process where pytest-xdist runs several of them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def built_once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """`built_once(name, build)`: a folder that the first process builds and all others reuse."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of all processes of one run

    def folder(name: str, build: Callable[[Path], None]) -> Path:
        found, done = shared / name, shared / f"{name}.built"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                build(found)
                done.touch()
        return found

    return folder

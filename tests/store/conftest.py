"""Fixtures of the store tests; store_samples.py makes their data."""

import os

import pytest
from store_samples import write_store


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch):
    """Skip fsync, most of the time for thousands of small files; one test keeps it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def made(tmp_path):
    return write_store(tmp_path / "store")

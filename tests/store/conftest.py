"""Fixtures of the store tests; what they are made of is in store_samples.py."""

import os

import pytest
from store_samples import write_store


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch):
    """Thousands of small files: waiting for the disk is most of the time. One test looks at it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def made(tmp_path):
    return write_store(tmp_path / "store")

"""What holds for all unit tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def same_import_path() -> Iterator[None]:
    """A model that a test loads leaves the folder of its own code importable; the next test must not find it."""
    before = list(sys.path)
    yield
    sys.path[:] = before

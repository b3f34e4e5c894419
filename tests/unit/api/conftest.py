"""A state directory whose story was told by the real engine, as the commands' tests have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.cli.conftest import Machine, machine, rolling, serving  # noqa: F401 — fixtures

import capstan


@pytest.fixture
def flights(tmp_path: Path, serving: Machine) -> capstan.System:  # noqa: F811
    """The system that v1 serves, by its file."""
    file = tmp_path / "system.yaml"
    file.write_text(json.dumps(serving.document))
    return capstan.System.from_file(file, state=serving.state.root)

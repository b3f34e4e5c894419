"""The state directory: private, exclusive, whole files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.errors import AlreadyRunningError

SYSTEM = SystemName("flights")


def test_state_and_tokens_are_the_owners_alone(tmp_path):
    state = StateDir(tmp_path / "state")
    state.prepare(SYSTEM)
    assert stat.S_IMODE(state.root.stat().st_mode) == 0o700
    for name in ("page", "feedback", "webhook", "internal"):
        assert stat.S_IMODE(state.token_file(name).stat().st_mode) == 0o600
        assert len(state.token(name)) >= 32


def test_tokens_are_drawn_once(tmp_path):
    state = StateDir(tmp_path)
    state.prepare(SYSTEM)
    before = state.token("page")
    state.prepare(SYSTEM)
    assert state.token("page") == before


def test_second_supervisor_is_refused_and_told_who_is_first(tmp_path):
    state = StateDir(tmp_path)
    state.prepare(SYSTEM)
    code = (
        "import sys; from pathlib import Path; from capstan.embedded.layout import StateDir\n"
        "from capstan.errors import AlreadyRunningError\n"
        "try:\n    StateDir(Path(sys.argv[1])).exclusively().__enter__()\n"
        "except AlreadyRunningError as error:\n    print(error); sys.exit(3)\n"
    )
    with state.exclusively():
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 3
    assert str(os.getpid()) in done.stdout
    assert "capstan down" in done.stdout


def test_directory_is_free_after_its_holder_is_gone(tmp_path):
    state = StateDir(tmp_path)
    state.prepare(SYSTEM)
    with state.exclusively():
        pass
    with state.exclusively(), pytest.raises(AlreadyRunningError), state.exclusively():
        pass

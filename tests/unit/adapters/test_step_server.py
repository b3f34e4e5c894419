"""The process that runs the steps of a backtest's trainings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from capstan.adapters.own.step_server import StepServer


def test_ctrl_c_of_the_terminal_does_not_reach_it_and_it_ends_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec cat\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    server = StepServer(tmp_path / "steps")
    server.start({})
    process = server._process
    assert process is not None
    assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
    server.close()
    assert process.returncode == 0

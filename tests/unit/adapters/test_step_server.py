"""The process that runs the steps of a backtest's trainings."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from capstan.adapters.own.step_server import StepServer
from capstan.errors import CapstanError


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


def test_a_process_whose_imports_fail_after_a_training_asked_is_told_as_an_error(tmp_path: Path) -> None:
    server = StepServer(tmp_path / "steps")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(server.path))
        listening.listen(1)
        # It ends without having taken the training that stands in its queue.
        ending = threading.Timer(0.2, listening.close)
        ending.start()
        with pytest.raises(
            CapstanError, match="no training can start: the process that runs the steps ended"
        ):
            server.train(tmp_path)
        ending.join()

"""Trainings by one process that has imported everything and forks for each of them.

It speaks the protocol of `python -m capstan_pipelines.warm`. A training takes what its steps take, and nothing for
imports, KFP, BentoML or MLflow.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from capstan.errors import CapstanError

STARTING_SECONDS = 120.0
"""Seconds that its imports may take."""
STEP = "every"
_LOOK_SECONDS = 0.05


class StepServer:
    """Started at the first training; several processes may ask one by its socket."""

    def __init__(self, path: Path) -> None:
        """`path` of the socket, of at most some hundred bytes."""
        self.path = path
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it with these variables beside those of this process; it ends with `close`, or with this process."""
        self._process = subprocess.Popen(
            # Where all trainings are kept nobody asks, and its imports cost more than a month of a backtest.
            [sys.executable, "-m", "capstan_pipelines.warm", str(self.path), "--at-first"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # Ctrl-C reaches the whole terminal: a training that it ended would be told as one that failed.
            process_group=0,
            env={**os.environ, **environment},
        )

    def train(self, folder: Path) -> None:
        """Run all steps of the run's folder; its status is there on return. Raises CapstanError if nobody ran them."""
        with (folder / "run.log").open("ab") as log, socket.socket(socket.AF_UNIX) as connection:
            self._connect(connection)
            request = json.dumps({"step": STEP, "arguments": [str(folder)]}).encode()
            try:
                socket.send_fds(connection, [request], [log.fileno(), log.fileno()])
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(1)
            except OSError as error:
                # It imports when it is first asked; an import that fails ends it before it takes the training.
                raise CapstanError(
                    f"no training can start: the process that runs the steps ended before it took the one in {folder}: "
                    f"{error.strerror}; what it printed above says why"
                ) from error
            if answer != b"1":
                raise CapstanError(f"the training in {folder} ended without a result; its log is {log.name}")

    def close(self) -> None:
        """End it, if it was started here."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _connect(self, connection: socket.socket) -> None:
        deadline = time.monotonic() + STARTING_SECONDS
        while True:
            try:
                connection.connect(str(self.path))
                return
            except OSError as error:
                ended = self._process is not None and self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise CapstanError(
                        f"no training can start: the process that runs the steps does not answer at {self.path}: "
                        f"{error.strerror}"
                    ) from error
            time.sleep(_LOOK_SECONDS)

"""One process that has imported everything, and forks for each step that asks.

Importing scikit-learn costs two seconds of a processor, and a run on one machine has five steps that need it. Where no
such process is (on a KFP server each step is a pod), a step imports what it needs itself. What asks must stay light: it
imports the standard library only.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from capstan_pipelines.step_process import STEPS, run_step

SOCKET = "CAPSTAN_WARM"
"""Environment variable with the path of the socket; unset or empty where every step runs by itself."""
AT_FIRST = "--at-first"
"""Argument after the path: import nothing before a step asks."""
_LONGEST = 65_536
_IMPORTS = (
    *(
        STEPS + name
        for name in ("check", "split", "fit", "choose", "evaluate", "refit", "package", "register")
    ),
    "capstan.data.split",
    "capstan.training.fitting",
    "capstan.monitoring.drift.fitted_detectors",
    "sklearn.dummy",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "joblib",
    "threadpoolctl",
    "pyarrow.parquet",
)


class StepFailedError(Exception):
    """The step has already told why."""


def call(step: str, *arguments: object) -> None:
    """Run the step in a fork of the warm process, or of this one if there is none; raises StepFailedError."""
    path = os.environ.get(SOCKET)
    if path:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(path)
            except OSError:
                pass
            else:
                request = json.dumps({"step": step, "arguments": arguments}).encode()
                socket.send_fds(connection, [request], [1, 2])
                connection.shutdown(socket.SHUT_WR)
                if connection.recv(1) != b"1":
                    raise StepFailedError(f"{step} failed")
                return
    if not run_step(step, arguments):
        raise StepFailedError(f"{step} failed")


@contextlib.contextmanager
def warm_process() -> Iterator[None]:
    """Keep one beside this process; what is started inside asks it."""
    with tempfile.TemporaryDirectory(prefix="capstan-") as folder:
        # A Unix socket's path may have a hundred bytes, which a run's folder may exceed.
        path = str(Path(folder) / "warm")
        process = subprocess.Popen(
            [sys.executable, "-m", "capstan_pipelines.warm", path], stdin=subprocess.PIPE
        )
        assert process.stdin is not None
        before = os.environ.get(SOCKET, "")
        os.environ[SOCKET] = path
        try:
            yield
        finally:
            os.environ[SOCKET] = before
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def serve(path: str, *, at_first: bool = False) -> None:
    """Answer until standard input ends, which it does when the process that started this one does.

    `at_first`: import when the first step asks, since none may.
    """
    with socket.socket(socket.AF_UNIX) as listening:
        # The extraction needs nothing of all this: until the name exists, steps run by themselves.
        listening.bind(f"{path}.new")
        listening.listen(16)
        if not at_first:
            _import_all()
        os.rename(f"{path}.new", path)
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [], 1.0)
            if sys.stdin in ready:
                return
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    continue
            if listening in ready:
                _import_all()
                connection, _ = listening.accept()
                _fork(connection, listening)


def _import_all() -> None:
    for name in _IMPORTS:
        importlib.import_module(name)


def _fork(connection: socket.socket, listening: socket.socket) -> None:
    received, files, _, _ = socket.recv_fds(connection, _LONGEST, 2)
    sys.stdout.flush()
    if os.fork() == 0:
        listening.close()
        _answer(connection, received, files)
    for file in files:
        os.close(file)
    connection.close()


def _answer(connection: socket.socket, received: bytes, files: list[int]) -> NoReturn:
    """In the fork: never returns, so that nothing of the server runs twice."""
    answer = b"0"
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for target, file in zip((1, 2), files, strict=True):
            os.dup2(file, target)
            os.close(file)
        request = json.loads(received)
        if run_step(request["step"], request["arguments"]):
            answer = b"1"
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        with contextlib.suppress(OSError):
            connection.sendall(answer)
        os._exit(0 if answer == b"1" else 1)


if __name__ == "__main__":
    serve(sys.argv[1], at_first=sys.argv[2:] == [AT_FIRST])

"""One process that has imported everything, and forks for each step that asks.

Importing scikit-learn costs two seconds of a processor, and a run on one machine has five steps that need it. Where no
such process is (on a KFP server each step is a pod), a step imports what it needs itself. What asks must stay light: it
imports the standard library only.

MLflow costs three seconds more, and the last step alone needs it. A fork of the process imports it while the models
learn, and answers for that step.
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
"""Argument after the path, instead of the run's folder: import nothing before a step asks."""
_LATE = frozenset({"register"})
"""Steps that need MLflow. They ask the fork that imports it, or the process that it came from until that is ready."""
_FORK = ".late"
"""End of the path of the fork's socket."""
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
_SEARCH_IMPORTS = ("optuna", "optuna.samplers", "optuna.storages.journal", "optuna.trial")


class StepFailedError(Exception):
    """The step has already told why."""


def call(step: str, *arguments: object) -> None:
    """Run the step in a fork of the warm process, or of this one if there is none; raises StepFailedError."""
    path = os.environ.get(SOCKET)
    for place in (*([f"{path}{_FORK}"] if step in _LATE else []), path) if path else ():
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(place)
            except OSError:
                continue
            request = json.dumps({"step": step, "arguments": arguments}).encode()
            socket.send_fds(connection, [request], [1, 2])
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(1) != b"1":
                raise StepFailedError(f"{step} failed")
            return
    if not run_step(step, arguments):
        raise StepFailedError(f"{step} failed")


@contextlib.contextmanager
def warm_process(job_folder: Path) -> Iterator[None]:
    """Keep one beside this process, for the run of that folder; what is started inside asks it."""
    with tempfile.TemporaryDirectory(prefix="capstan-") as folder:
        # A Unix socket's path may have a hundred bytes, which a run's folder may exceed.
        path = str(Path(folder) / "warm")
        process = subprocess.Popen(
            [sys.executable, "-m", "capstan_pipelines.warm", path, str(job_folder)], stdin=subprocess.PIPE
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


def serve(path: str, job_folder: str | None) -> None:
    """Answer until standard input ends, which it does when the process that started this one does.

    `job_folder` is that of the run; None: runs of many folders ask, and nothing is imported before a step does.
    """
    # The extraction needs nothing of all this: until the name exists, steps run by themselves.
    with _listening(path) as listening:
        if job_folder is None:
            _answer_steps(path, listening)
            return
        _import_all()
        late = os.fork()
        if late:
            try:
                _answer_steps(path, listening, searching=job_folder)
            finally:
                _end(late)
            return
    path += _FORK
    with _listening(path) as listening:
        _import_registry(job_folder)
        _answer_steps(path, listening)


def _end(late: int) -> None:
    """In the midst of its imports the fork hears nothing, and then looks for a folder that is gone."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(late, os.WNOHANG)[0] == 0:
            os.kill(late, signal.SIGKILL)
            os.waitpid(late, 0)


def _listening(path: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{path}.new")
    listening.listen(16)
    return listening


def _answer_steps(path: str, listening: socket.socket, *, searching: str | None = None) -> None:
    """Let steps find the socket at `path`, and fork for each of them until standard input ends.

    While nobody asks, what a search of the run in the folder `searching` needs is imported; None: in that of the
    first that asks.
    """
    os.rename(f"{path}.new", path)
    is_known = False
    while True:
        unknown = None if is_known else searching
        ready, _, _ = select.select([listening, sys.stdin], [], [], 1.0 if unknown is None else 0.0)
        if sys.stdin in ready:
            return
        if not ready and unknown is not None:
            is_known = True
            _import_search(unknown)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        if listening in ready:
            _import_all()
            connection, _ = listening.accept()
            asked = _fork(connection, listening)
            searching = searching or asked


def _import_all() -> None:
    for name in _IMPORTS:
        importlib.import_module(name)


def _import_search(job_folder: str) -> None:
    """Optuna costs a third of a second, so only where the file asks for it."""
    from capstan.training.job import Job
    from capstan.training.search import searched_of

    # What is wrong with the file or with the library, the step tells.
    with contextlib.suppress(Exception):
        training = Job(job_folder).system.spec.training
        if any(searched_of(candidate, training.candidates) for candidate in training.candidates):
            for name in _SEARCH_IMPORTS:
                importlib.import_module(name)


def _import_registry(job_folder: str) -> None:
    from capstan.training.job import Job
    from capstan_pipelines.wiring import import_registry

    import_registry(Job(job_folder))


def _fork(connection: socket.socket, listening: socket.socket) -> str | None:
    """Returns the folder of the run that asks."""
    received, files, _, _ = socket.recv_fds(connection, _LONGEST, 2)
    sys.stdout.flush()
    if os.fork() == 0:
        listening.close()
        _answer(connection, received, files)
    for file in files:
        os.close(file)
    connection.close()
    with contextlib.suppress(ValueError, LookupError):
        return str(json.loads(received)["arguments"][0])
    return None


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
    serve(sys.argv[1], None if sys.argv[2] == AT_FIRST else sys.argv[2])

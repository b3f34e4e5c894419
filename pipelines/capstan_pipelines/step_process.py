"""One step in a process group of its own: what it leaves behind ends with it, and one that lasts too long is stopped.

A factory may start a pool of processes. Such a pool lives on for minutes after its step and holds the step's output
open, for which KFP waits. What asks must stay light: it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

STEPS = "capstan_pipelines.steps."
GRACE_SECONDS = 2.0
"""Between SIGTERM and SIGKILL for what a step has left."""
CANCELLED = 143
_LOOK_SECONDS = 0.02
_FITTING = frozenset({"fit", "evaluate", "refit"})
"""Steps to which `training.fitDeadline` applies."""


def run_step(step: str, arguments: Sequence[Any]) -> bool:
    """Run the step in a fork of this process; returns whether it succeeded, once all that it started is gone."""
    output, output_end = os.pipe()
    lifeline, lifeline_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    worker = os.fork()
    if worker == 0:
        os.close(output)
        os.close(lifeline_end)
        _work(step, arguments, output_end, lifeline)
    # Both sides set it: neither may go on before it holds.
    with contextlib.suppress(OSError):
        os.setpgid(worker, worker)
    os.close(output_end)
    os.close(lifeline)
    with _ending_with_this_process(worker):
        # What escapes into a session of its own holds this pipe, not the one that KFP waits for.
        pump = threading.Thread(target=_pump, args=(output,), daemon=True)
        pump.start()
        name = _name(step, arguments)
        trouble = _trouble(worker, _limit_seconds(step, arguments))
        left = _end_group(worker)
        pump.join(1.0)
    os.close(lifeline_end)
    if left:
        _tell(name, f"ended {left}, which it left behind")
    if trouble is None:
        return True
    return _give_up(step, arguments, name, trouble) if trouble else False


def _work(step: str, arguments: Sequence[Any], output: int, lifeline: int) -> NoReturn:
    """In the fork: never returns, so that nothing of the parent runs twice."""
    code = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
        importlib.import_module(STEPS + step).run(*arguments)
        code = 0
    except BaseException as error:
        if not isinstance(error, Exception):
            traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _end_with_parent(lifeline: int) -> None:
    """The pipe ends when the waiting process does, also by SIGKILL, which does not reach this group."""
    with contextlib.suppress(OSError):
        os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


@contextlib.contextmanager
def _ending_with_this_process(worker: int) -> Any:
    def end(_number: int, _frame: object) -> None:
        with contextlib.suppress(OSError):
            os.killpg(worker, signal.SIGKILL)
        os._exit(CANCELLED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _pump(output: int) -> None:
    with contextlib.suppress(OSError):
        while content := os.read(output, 65_536):
            os.write(1, content)


def _trouble(worker: int, limit: float | None) -> str | None:
    """None when it succeeded; empty when it has told itself why it failed; else what ended it."""
    deadline = time.monotonic() + limit if limit is not None else None
    if deadline is None:
        _, status = os.waitpid(worker, 0)
    else:
        while True:
            done, status = os.waitpid(worker, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline:
                with contextlib.suppress(OSError):
                    os.killpg(worker, signal.SIGKILL)
                os.waitpid(worker, 0)
                return f"was stopped after {_span(limit)}, the limit of training.fitDeadline; does it hang?"
            time.sleep(_LOOK_SECONDS)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    if code > 0:
        return ""
    killed = signal.Signals(-code).name
    return f"was ended by {killed}" + ("; out of memory?" if killed == "SIGKILL" else "")


def _span(seconds: float | None) -> str:
    assert seconds is not None
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds:g} s"


def _end_group(group: int) -> str:
    """End what is left of the group; returns it in words, empty if nothing was."""
    if not _lives(group):
        return ""
    names = _names(group)
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and _lives(group):
            time.sleep(_LOOK_SECONDS)
        os.killpg(group, signal.SIGKILL)
    if not names:
        return ""
    counted = ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))
    return f"{len(names)} process{'es' if len(names) > 1 else ''} ({counted})"


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def _names(group: int) -> list[str]:
    import psutil

    names = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                names.append(process.name())
    return names


def _limit_seconds(step: str, arguments: Sequence[Any]) -> float | None:
    if step not in _FITTING:
        return None
    from capstan.training.job import Job

    return float(Job(arguments[0]).system.spec.training.fit_deadline.total_seconds())


def _name(step: str, arguments: Sequence[Any]) -> str:
    """As the step calls itself in its progress."""
    return f"fit {arguments[1]}" if step == "fit" else step


def _tell(name: str, text: str) -> None:
    from capstan_pipelines.steps import progress

    print(f"{name}: {text}", flush=True)  # noqa: T201 — the step's log is its standard output
    progress.add(name, text)


def _give_up(step: str, arguments: Sequence[Any], name: str, trouble: str) -> bool:
    """For a step that could not tell its end itself: one candidate that is lost does not end the run."""
    from capstan_pipelines.steps import progress

    print(f"{name}: {trouble}", file=sys.stderr, flush=True)  # noqa: T201
    progress.fail(name, trouble)
    if step != "fit":
        return False
    _, candidate, _, fitted_file = arguments
    result = {
        "name": candidate,
        "failure": trouble,
        "metrics": {},
        "settings": {},
        "search": None,
        "warnings": [],
        "interval": None,
        "cost": {},
    }
    Path(fitted_file).parent.mkdir(parents=True, exist_ok=True)
    Path(fitted_file).write_text(json.dumps({**result, "seconds": 0.0}))
    return True

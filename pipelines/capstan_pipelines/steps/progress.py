"""Tells whoever watches the run's folder what a step does now; in a cluster nobody does, and nothing is written."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from capstan.domain.training import RunPhase, StepProgress
from capstan.errors import CapstanError
from capstan.files import write_whole
from capstan.ports.codec import to_json

FOLDER = "CAPSTAN_PROGRESS"
"""Environment variable with the folder of progress files, one per step."""

Say = Callable[[str], None]


@contextmanager
def step(name: str) -> Iterator[Say]:
    """Note start, end and what is said in between; an error's text is kept for the user, and the error raised again."""
    started = datetime.now(UTC)
    began_cpu = time.process_time()
    message = ""

    def note(phase: RunPhase) -> None:
        finished = datetime.now(UTC) if phase is not RunPhase.RUNNING else None
        _write(StepProgress(name, phase, started, finished, message))

    def say(text: str) -> None:
        nonlocal message
        message = text
        print(f"{name}: {text}", flush=True)  # noqa: T201 — the step's log is its standard output
        note(RunPhase.RUNNING)

    note(RunPhase.RUNNING)
    try:
        yield say
    except Exception as error:
        known = isinstance(error, CapstanError)
        message = str(error) if known else f"{type(error).__name__}: {error}"
        note(RunPhase.FAILED)
        if known:
            # The text is meant for the user; KFP's own traceback says nothing more.
            print(f"{name}: {message}", file=sys.stderr, flush=True)  # noqa: T201
        else:
            traceback.print_exc()
        raise
    _write_cpu(name, time.process_time() - began_cpu)
    note(RunPhase.SUCCEEDED)


def _write(progress: StepProgress) -> None:
    folder = os.environ.get(FOLDER)
    if folder:
        write_whole(_file(Path(folder), progress.name), json.dumps(to_json(progress)).encode())


def _write_cpu(name: str, seconds: float) -> None:
    folder = os.environ.get(FOLDER)
    if folder:
        write_whole(_file(Path(folder), name).with_suffix(".cpu"), f"{seconds:.3f}".encode())


def _file(folder: Path, name: str) -> Path:
    return folder / f"{re.sub('[^A-Za-z0-9-]', '.', name)}.json"

"""Tells whoever watches the run's folder what a step does now; in a cluster nobody does, and nothing is written."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from capstan.domain.training import RunPhase, StepProgress
from capstan.errors import CapstanError
from capstan.files import write_whole
from capstan.ports.codec import from_json, to_json

FOLDER = "CAPSTAN_PROGRESS"
"""Environment variable with the folder of progress files, one per step."""


class Telling:
    """What a step says of itself while it works."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = datetime.now(UTC)
        self.message = ""
        self.waits_for = ""
        self.phase = RunPhase.RUNNING

    def __call__(self, text: str) -> None:
        """Say what it does now, or has come to."""
        self.waits_for = ""
        self._say(text)

    def wait(self, part: str, text: str) -> None:
        """Say which part it waits for, since when and for how long."""
        self.waits_for = part
        self._say(text)

    def _say(self, text: str) -> None:
        self.message = text
        print(f"{self._name}: {text}", flush=True)  # noqa: T201 — the step's log is its standard output
        self.note(RunPhase.RUNNING)

    def fail(self, text: str) -> None:
        """Say that its work has failed, although the run goes on."""
        self(f"failed: {text}")
        self.message, self.phase = text, RunPhase.FAILED

    def note(self, phase: RunPhase) -> None:
        finished = datetime.now(UTC) if phase is not RunPhase.RUNNING else None
        waits_for = self.waits_for if phase is RunPhase.RUNNING else ""
        _write(StepProgress(self._name, phase, self._started, finished, self.message, waits_for))


@contextmanager
def step(name: str) -> Iterator[Telling]:
    """Note start, end and what is said in between; an error's text is kept for the user, and the error raised again."""
    telling = Telling(name)
    began_cpu = time.process_time()
    telling.note(RunPhase.RUNNING)
    try:
        yield telling
    except Exception as error:
        known = isinstance(error, CapstanError)
        telling.message = str(error) if known else f"{type(error).__name__}: {error}"
        telling.note(RunPhase.FAILED)
        if known:
            # The text is meant for the user; KFP's own traceback says nothing more.
            print(f"{name}: {telling.message}", file=sys.stderr, flush=True)  # noqa: T201
        else:
            traceback.print_exc()
        raise
    _write_cpu(name, time.process_time() - began_cpu)
    telling.note(RunPhase.FAILED if telling.phase is RunPhase.FAILED else RunPhase.SUCCEEDED)


def add(name: str, text: str) -> None:
    """Add to what the step has said, from outside of it."""
    told = _read(name)
    if told is not None:
        _write(replace(told, message="; ".join(filter(None, [told.message, text]))))


def fail(name: str, text: str) -> None:
    """Say for a step that can't any more that it has failed."""
    now = datetime.now(UTC)
    told = _read(name) or StepProgress(name, RunPhase.FAILED, now)
    _write(replace(told, phase=RunPhase.FAILED, finished_at=now, message=text))


def _read(name: str) -> StepProgress | None:
    folder = os.environ.get(FOLDER)
    try:
        return from_json(StepProgress, json.loads(_file(Path(folder), name).read_bytes())) if folder else None
    except FileNotFoundError:
        return None


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

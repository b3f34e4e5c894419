"""One trial in a process of its own: it may fail, be killed or run out of memory, and the search goes on.

The process is a fork, so that it shares the rows with its parent, which must not have used OpenMP before.
"""

from __future__ import annotations

import importlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from capstan.errors import CapstanError, InvalidDataError
from capstan.spec.families import Candidate
from capstan.training.choosing import one_line
from capstan.training.families import Values
from capstan.training.search.study import Asked

Attempt = Callable[[Candidate, Values, float], float]
"""Candidate, its values and the share of the rows that it learns from -> its score; higher is better."""


@dataclass(frozen=True)
class Scored:
    """What a trial says after a round, or at its end; nan where the metric is not defined."""

    score: float
    imported: Sequence[str] = ()
    """Modules that it had to import: its parent does so too, so that the next trials have them."""


@dataclass(frozen=True)
class Failed:
    """Why a trial has no score."""

    why: str


class Running:
    """A trial that runs."""

    def __init__(self, asked: Asked, attempt: Attempt, shares: Sequence[float]) -> None:
        context: Any = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        self.asked = asked
        self.round = 0
        """How many rounds it has told of."""
        self.connection: Connection = ours
        self._began = time.monotonic()
        self._process = context.Process(target=_work, args=(ours, theirs, asked, attempt, shares))
        self._process.start()
        theirs.close()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def hear(self) -> Scored | Failed:
        """What it says; blocks until it does."""
        try:
            said: Scored | Failed = self.connection.recv()
        except EOFError:
            self._process.join()
            return Failed(_ended(self._process.exitcode))
        for module in said.imported if isinstance(said, Scored) else ():
            with suppress(Exception):
                importlib.import_module(module)
        return said

    def answer(self, *, goes_on: bool) -> None:
        """Let it learn from more rows, or end it."""
        self.round += 1
        self.connection.send(goes_on)

    def end(self) -> None:
        """End it, whatever it does; no error if it has ended."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        killed = signal.Signals(-code).name
        return f"its process was ended by {killed}" + ("; out of memory?" if killed == "SIGKILL" else "")
    return f"its process ended with code {code} and said nothing"


def _work(
    ours: Connection, theirs: Connection, asked: Asked, attempt: Attempt, shares: Sequence[float]
) -> None:
    ours.close()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        for share in shares:
            before = set(sys.modules)
            score = _score(asked, attempt, share)
            theirs.send(Scored(score, sorted(set(sys.modules) - before)))
            if share < 1 and not theirs.recv():
                return
    except BaseException as error:
        known = isinstance(error, CapstanError)
        theirs.send(Failed(one_line(str(error) if known else f"{type(error).__name__}: {error}")))


def _score(asked: Asked, attempt: Attempt, share: float) -> float:
    try:
        return attempt(asked.searched.candidate, asked.values, share)
    except InvalidDataError:
        if share < 1:
            # So few rows may hold one class alone; all of them may be right.
            return math.nan
        raise


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)

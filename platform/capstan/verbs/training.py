"""One pipeline run without serving: what it says while it runs, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from capstan.domain.local_times import in_zone
from capstan.domain.step_news import ToldStep, news_of
from capstan.domain.training import RunPhase, RunStatus, StepProgress
from capstan.embedded.layout import StateDir
from capstan.embedded.training import Trained, train
from capstan.spec import MLSystem

LOOK_SECONDS = 0.2


def trained(
    system: MLSystem,
    state: StateDir,
    *,
    as_of: datetime | None,
    stop: Callable[[], bool],
    tell: Callable[[StepProgress], object],
) -> Trained:
    """Run the pipeline on what was known at `as_of`, or is now, until it ends or `stop` says True, which cancels it.

    `as_of` is of `data.timeZone` unless it has an offset. `tell` hears of each step once when it begins and once when
    it ends.
    """
    moment = in_zone(as_of or datetime.now(UTC).replace(microsecond=0), system.spec.data.time_zone)
    known: dict[str, ToldStep] = {}

    def hear(status: RunStatus) -> None:
        for step, told in news_of(status.steps, known, now=time.monotonic()).values():
            known[step.name] = told
            tell(step)

    def watch(status: RunStatus) -> bool:
        hear(status)
        try:
            time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            # As a notebook's kernel is interrupted; the command line asks by `stop`.
            return False
        return not stop()

    made = train(system, state, as_of=moment, clock=lambda: datetime.now(UTC), watch=watch)
    hear(made.status)
    return made


def failure_of(made: Trained) -> str | None:
    """Why a run has no version, in words; None: it has one."""
    if made.status.phase is RunPhase.SUCCEEDED:
        return None
    run = made.request.run
    return f"{run} {made.status.phase.value.lower()}: {made.status.message}; see `capstan logs {run}`"

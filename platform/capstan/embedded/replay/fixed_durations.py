"""Fixed event time for work that takes real time, so that a replay decides the same on any machine.

A replay stops event time while a model trains or deploys. When the work is really done, its result stays hidden until
event time has moved on by the time that the file states for it (`replay.charges`): requests up to then are still
answered by the old versions, as they would have been.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.versions import ModelVersion, Readiness, RunName, VersionName
from capstan.ports.clock import Clock
from capstan.ports.pipelines import Pipelines
from capstan.ports.serving import Endpoint, Serving


class FixedDurations:
    """Event times at which finished work becomes visible; survives restarts through `load` and `dump`."""

    def __init__(self, due: Mapping[str, datetime] | None = None) -> None:
        self._due = dict(due or {})
        self._is_suspended = False
        self.keep: Callable[[], None] = lambda: None
        """Function that is called after every change."""

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let work that begins meanwhile cost no event time: the first champion exists when a replay begins."""
        self._is_suspended = True
        try:
            yield
        finally:
            self._is_suspended = False

    def begin(self, work: str, due: datetime) -> None:
        """Remember the first start; a repeated start of the same work changes nothing."""
        if not self._is_suspended and work not in self._due:
            self._due[work] = due
            self.keep()

    def forget(self, work: str) -> None:
        if self._due.pop(work, None) is not None:
            self.keep()

    def is_hidden(self, work: str, now: datetime) -> bool:
        due = self._due.get(work)
        return due is not None and now < due

    def next_due(self, now: datetime) -> datetime | None:
        """The next moment at which something becomes visible; None if nothing is hidden."""
        return min((due for due in self._due.values() if due > now), default=None)

    def dump(self) -> dict[str, datetime]:
        return dict(self._due)


class FixedTimePipelines:
    """A Pipelines port whose runs end in event time."""

    def __init__(self, inner: Pipelines, clock: Clock, charges: FixedDurations, charge: timedelta) -> None:
        self._inner = inner
        self._clock = clock
        self._charges = charges
        self._charge = charge
        self._running: set[RunName] = set()

    def start(self, request: TrainingRequest) -> None:
        self._charges.begin(f"run/{request.run}", self._clock.now() + self._charge)
        self._inner.start(request)
        self._running.add(request.run)

    def status(self, run: RunName) -> RunStatus:
        status = self._inner.status(run)
        if status.phase is RunPhase.RUNNING:
            self._running.add(run)
        finished = status.phase not in (RunPhase.ABSENT, RunPhase.RUNNING)
        if finished and self._charges.is_hidden(f"run/{run}", self._clock.now()):
            return replace(
                status,
                phase=RunPhase.RUNNING,
                version=None,
                gates=(),
                message="finished; event time is catching up",
            )
        return status

    def cancel(self, run: RunName) -> None:
        self._inner.cancel(run)

    def is_really_running(self) -> bool:
        """Whether a run takes real time right now, so that event time must stand still."""
        self._running = {run for run in self._running if self._inner.status(run).phase is RunPhase.RUNNING}
        return bool(self._running)


class FixedTimeServing:
    """A Serving port whose versions become ready in event time."""

    def __init__(self, inner: Serving, clock: Clock, charges: FixedDurations, charge: timedelta) -> None:
        self._inner = inner
        self._clock = clock
        self._charges = charges
        self._charge = charge

    def deploy(self, version: ModelVersion) -> None:
        if self._inner.readiness().get(version.name, Readiness.ABSENT) is Readiness.ABSENT:
            self._charges.begin(f"version/{version.name}", self._clock.now() + self._charge)
        self._inner.deploy(version)

    def retire(self, name: VersionName) -> None:
        self._charges.forget(f"version/{name}")
        self._inner.retire(name)

    def readiness(self) -> Mapping[VersionName, Readiness]:
        now = self._clock.now()
        return {
            name: Readiness.STARTING
            if readiness is Readiness.READY and self._charges.is_hidden(f"version/{name}", now)
            else readiness
            for name, readiness in self._inner.readiness().items()
        }

    def endpoint(self, name: VersionName) -> Endpoint | None:
        return self._inner.endpoint(name)

    def is_really_starting(self) -> bool:
        """Whether a version takes real time to come up right now."""
        return Readiness.STARTING in self._inner.readiness().values()

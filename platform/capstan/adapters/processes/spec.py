"""What a supervised process is, and what becomes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import orjson


@dataclass(frozen=True)
class RestartPolicy:
    """Waits before restarts: initial, doubled up to the maximum; gives up after so many quick deaths in a row."""

    initial_seconds: float = 0.2
    maximum_seconds: float = 30.0
    quick_seconds: float = 10.0
    """Age in seconds below which a death counts as a quick one."""
    gives_up_after: int = 5

    def delay_seconds(self, quick_deaths: int) -> float:
        return float(min(self.initial_seconds * 2 ** min(max(quick_deaths - 1, 0), 30), self.maximum_seconds))


@dataclass(frozen=True)
class ProcessSpec:
    """One process to keep running."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that are added to the supervisor's own; only these count for the digest."""
    cwd: Path | None = None
    health_url: str | None = None
    """Address that answers 2xx when the process can work; None: running is healthy."""
    nice: int = 0
    restart: RestartPolicy | None = field(default_factory=RestartPolicy)
    """How often and when it is started again; None: an end is final, as for a job."""
    grace_seconds: float = 10.0
    """Seconds between SIGTERM and SIGKILL."""

    @cached_property
    def digest(self) -> str:
        """The same for the same command, environment, folder and niceness."""
        identity = [list(self.argv), sorted(self.env.items()), str(self.cwd or ""), self.nice]
        return hashlib.sha256(orjson.dumps(identity)).hexdigest()


class ProcessPhase(StrEnum):
    STARTING = "Starting"
    """Runs, but has not yet answered its health check."""
    RUNNING = "Running"
    BACKING_OFF = "BackingOff"
    GAVE_UP = "GaveUp"
    """It died too often and is not started again until it is stopped and asked for anew."""
    EXITED = "Exited"
    """It ended and was not to be restarted."""
    STOPPED = "Stopped"


@dataclass(frozen=True)
class ProcessStatus:
    name: str
    phase: ProcessPhase
    pid: int | None
    restarts: int
    exit_code: int | None
    """Exit code; None while it runs, and for an adopted process, whose code nobody learns."""
    message: str
    log: Path


@dataclass(frozen=True)
class ProcessEvent:
    """Something a tick noticed, for the story of the system."""

    name: str
    reason: str
    """`Healthy`, `Died`, `Restarted`, `GaveUp` or `Exited`."""
    message: str

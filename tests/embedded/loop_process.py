"""`capstan replay` as a process that can be killed: forked from a parent that has imported everything already."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.context
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from embedded.scenario import NAME

from capstan.adapters.mlflow.registry import SETTINGS
from capstan.adapters.processes.ports_in_use import free_port
from capstan.adapters.sqlite.store import SqliteStore
from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.replay import whole_replay
from capstan.embedded.wiring import Addresses
from capstan.ports.store import Event
from capstan.spec import load


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    # MLflow is imported at first use, and its store at the first question: 3 s of a processor at every start.
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    context.set_forkserver_preload([__name__, "mlflow", "mlflow.store.tracking.sqlalchemy_store"])
    return context


class _Silent:
    def say(self, text: str) -> None: ...

    def tell(self, event: Event) -> None: ...

    def advance(self, description: str, done: int, total: int, note: str = "") -> None: ...


def _replay(
    file: Path, root: Path, addresses: Addresses, end: datetime | None, log: Path, core: int | None
) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    # The reader's own process saves memory; here it would only cost time at every start.
    whole_replay.read_apart = lambda system, scope, secrets, stop: whole_replay.read_traffic(
        system, scope, secrets
    )
    system = load(file)
    scope = whole_replay.scope_of(system, end=end.date() if end else None)
    whole_replay.run_replay(system, StateDir(root), _Silent(), addresses=addresses, scope=scope, resume=True)


@dataclass
class Loop:
    """A replay of the file in the state directory, started again and again."""

    file: Path
    state: StateDir
    until: datetime | None = None
    core: int | None = None
    """All its processes run on this core alone; None: on any."""
    addresses: Addresses = field(default_factory=lambda: Addresses(free_port(), free_port()))
    process: Any = None

    def start(self) -> None:
        """Go on where it stopped."""
        arguments = (self.file, self.state.root, self.addresses, self.until, self.log, self.core)
        self.process = _context().Process(target=_replay, args=arguments)
        self.process.start()

    def kill(self) -> None:
        """SIGKILL to the loop alone; what it started lives on."""
        self.process.kill()
        self.process.join()

    def wait(self, seconds: float = 600.0) -> dict[str, Any]:
        """Until it has ended by itself; its report."""
        self.process.join(seconds)
        assert self.process.exitcode == 0, self.told()
        report: dict[str, Any] = orjson.loads(self.state.report(SystemName(NAME)).read_bytes())
        return report

    @property
    def is_over(self) -> bool:
        return not self.process.is_alive()

    @property
    def log(self) -> Path:
        return self.state.root.parent / "loop.log"

    def told(self) -> str:
        """The end of what it wrote, for a failed assertion."""
        text = self.log.read_text() if self.log.exists() else ""
        return f"exit code {self.process.exitcode}\n{text[-6000:]}"

    def position(self) -> datetime | None:
        """How far event time has come; None before the first tick."""
        with contextlib.suppress(FileNotFoundError):
            return datetime.fromisoformat(orjson.loads(self.state.journal.read_bytes())["position"])
        return None

    def wait_for(self, condition: Callable[[], bool], seconds: float = 240.0) -> bool:
        """Until it is true; False if the loop ended before."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.is_over:
                return False
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.02)
        return True

    def stop(self) -> None:
        """End it for good, with all that it started."""
        if self.process is not None and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGTERM)
            self.kill()
        from capstan.adapters.kubeflow.local import interrupt_runs
        from capstan.adapters.processes.children import ProcessSupervisor

        interrupt_runs(self.state.runs(SystemName(NAME)))
        ProcessSupervisor(self.state.processes, self.state.logs).stop_all()


@contextlib.contextmanager
def opened(state: StateDir) -> Iterator[SqliteStore]:
    """The state directory's store, for reading."""
    store = SqliteStore(state.store)
    try:
        yield store
    finally:
        store.close()


OPERATIONAL = ("Process", "Part", "Traffic")
"""Reasons that begin so tell of the machine, not of the data."""


def data_decisions(
    state: StateDir, *, before: datetime | None = None
) -> list[tuple[datetime, str, str, str]]:
    """(event time, reason, alert fingerprint, version) of everything that was decided, in order."""
    with opened(state) as store:
        events = [event for _, event in store.events(SystemName(NAME))]
    return [
        (
            event.at,
            event.reason,
            str(event.details.get("alert", "")),
            str(event.details.get("version") or event.details.get("challenger") or ""),
        )
        for event in events
        if not event.reason.startswith(OPERATIONAL) and (before is None or event.at < before)
    ]


def windows(state: StateDir) -> list[dict[str, Any]]:
    """The monitor's checkpoint: every window it decided, with all its numbers."""
    document: dict[str, Any] = orjson.loads((state.monitor(SystemName(NAME)) / "state.json").read_bytes())
    found: list[dict[str, Any]] = document["told"]
    return found

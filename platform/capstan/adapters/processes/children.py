"""Child processes that are kept alive, found again after a crash of their supervisor, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from capstan.adapters.processes import health as process_health
from capstan.adapters.processes import table as process_table
from capstan.adapters.processes.ports_in_use import free_port, is_free, require_free
from capstan.adapters.processes.spec import (
    ProcessEvent,
    ProcessPhase,
    ProcessSpec,
    ProcessStatus,
    RestartPolicy,
)
from capstan.errors import CapstanError, MissingToolError, UnavailableError
from capstan.files import write_error, write_whole

__all__ = [
    "ProcessEvent",
    "ProcessPhase",
    "ProcessSpec",
    "ProcessStatus",
    "ProcessSupervisor",
    "RestartPolicy",
    "free_port",
    "require_free",
]

DEFAULT_GRACE_SECONDS = 10.0
STARTING_HEALTH_PERIOD_SECONDS = 0.1
RUNNING_HEALTH_PERIOD_SECONDS = 5.0
UNHEALTHY_AFTER = 6
"""Failed health checks in a row after which a process that was healthy is restarted."""


@dataclass
class _Child:
    spec: ProcessSpec
    phase: ProcessPhase = ProcessPhase.STARTING
    pid: int | None = None
    born: str = ""
    popen: subprocess.Popen[bytes] | None = None
    """Handle of the child; None: it was adopted, so its exit code will never be known."""
    started_at: float = 0.0
    was_healthy: bool = False
    failed_checks: int = 0
    next_check_at: float = 0.0
    restart_at: float = 0.0
    restarts: int = 0
    quick_deaths: int = 0
    exit_code: int | None = None
    message: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)


class ProcessSupervisor:
    """Keeps named processes running; all methods may be called from any thread.

    `tick()` does everything that takes time to notice (deaths, health, restarts, log sizes); call it a few times a
    second. Each process runs in its own session. Records of them survive in `run_dir`, so that the next supervisor
    adopts what a killed one left.
    """

    def __init__(
        self,
        run_dir: Path,
        log_dir: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        max_log_bytes: int = 10_000_000,
    ) -> None:
        self.run_dir = run_dir.resolve()
        self.log_dir = log_dir.resolve()
        self._monotonic = monotonic
        self._max_log_bytes = max_log_bytes
        self._children: dict[str, _Child] = {}
        self._ports: dict[tuple[str, str], int] = {}
        self._lock = threading.RLock()
        for folder in (self.run_dir, self.log_dir):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise write_error(folder, error) from error

    def ensure(self, spec: ProcessSpec) -> ProcessStatus:
        """Run it, or leave it alone if exactly this runs, waits for its restart or has been given up.

        An older process of the same name with other arguments or environment is stopped first. `stop` resets one that
        was given up. Raises MissingToolError, DiskFullError.
        """
        with self._lock:
            child = self._children.setdefault(spec.name, _Child(spec, phase=ProcessPhase.STOPPED))
        with child.lock:
            if child.phase is not ProcessPhase.STOPPED and child.spec.digest != spec.digest:
                self._end(child)
            if child.phase is ProcessPhase.STOPPED:
                child.spec = spec
                child.quick_deaths = child.restarts = 0
                if not self._take_over(child):
                    self._start(child)
            child.spec = spec
            return self._status(child)

    def adopt(self) -> Sequence[str]:
        """Names of living processes that an earlier supervisor left here; `ensure` takes over those that still fit."""
        return sorted({process.name for process in process_table.living_processes(self.run_dir)})

    def stop_stale(self, keep: Iterable[str]) -> Sequence[str]:
        """Stop what an earlier supervisor left and nobody wants any more; returns their names."""
        wanted = {*keep, *self._children}
        stale = [name for name in self.adopt() if name not in wanted]
        for name in stale:
            self.stop(name)
        return stale

    def stop(self, name: str) -> None:
        """SIGTERM to its group, SIGKILL after its grace; no error if it does not run."""
        with self._lock:
            child = self._children.get(name)
        if child is not None:
            with child.lock:
                self._end(child)
        else:
            for process in process_table.living_processes(self.run_dir):
                if process.name == name:
                    process_table.end_group(process.pid, None, DEFAULT_GRACE_SECONDS)
            process_table.end_leftovers(self.run_dir, name)
        process_table.record_file(self.run_dir, name).unlink(missing_ok=True)
        with self._lock:
            self._ports = {key: port for key, port in self._ports.items() if key[0] != name}

    def stop_all(self, *, first: Sequence[str] = (), last: Sequence[str] = ()) -> None:
        """Stop everything of this folder: those named `first` one by one, the others together, `last` one by one.

        End the loop that calls `ensure` and `tick` before: what it started afterwards would be left.
        """
        for name in first:
            self.stop(name)
        with self._lock:
            names = [name for name in self._children if name not in last]
        stopping = [threading.Thread(target=self.stop, args=(name,), name=f"stop-{name}") for name in names]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        for name in (*last, *self.adopt()):
            self.stop(name)
        process_table.end_leftovers(self.run_dir, None)

    def status(self) -> Mapping[str, ProcessStatus]:
        """Every process that was asked for and not stopped, as of the last `tick`."""
        with self._lock:
            children = list(self._children.values())
        return {c.spec.name: self._status(c) for c in children if c.phase is not ProcessPhase.STOPPED}

    def tick(self) -> Sequence[ProcessEvent]:
        """Notice deaths, check health, restart what is due, bound the logs; returns what happened."""
        events: list[ProcessEvent] = []
        with self._lock:
            children = list(self._children.values())
        for child in children:
            if child.lock.acquire(blocking=False):
                try:
                    events += self._tick(child)
                finally:
                    child.lock.release()
        return events

    def tick_one(self, name: str) -> None:
        """Notice whether it has died, and tell nobody; for a process whose end is told by whoever started it."""
        with self._lock:
            child = self._children.get(name)
        if child is not None:
            with child.lock:
                self._tick(child)

    def wait_healthy(self, name: str, timeout_seconds: float = 60.0) -> ProcessStatus:
        """Tick until it answers its health check; raises UnavailableError with the log's tail if it will not."""
        deadline = self._monotonic() + timeout_seconds
        while True:
            self.tick()
            status = self.status().get(name)
            if status is None:
                raise UnavailableError(name, "it was never started")
            if status.phase is ProcessPhase.RUNNING:
                return status
            ended = status.phase in (ProcessPhase.GAVE_UP, ProcessPhase.EXITED)
            if ended or self._monotonic() > deadline:
                if status.phase is ProcessPhase.GAVE_UP:
                    raise UnavailableError(name, status.message)
                waited = status.message or f"no healthy answer after {timeout_seconds:g} s"
                raise UnavailableError(name, f"{waited}\n{process_table.tail(self._log(name))}".strip())
            time.sleep(0.05)

    def port(self, name: str, host: str = "127.0.0.1") -> int:
        """The port remembered under this name, so that a process and its digest survive a restart of the supervisor.

        A new free one is drawn when none is remembered or, at the first question, somebody outside this folder has
        taken it. Asking again costs nothing until the process of that name is stopped.
        """
        with self._lock:
            if (name, host) not in self._ports:
                self._ports[name, host] = self._draw_port(name, host)
            return self._ports[name, host]

    def _draw_port(self, name: str, host: str) -> int:
        file = self.run_dir / "ports.json"
        try:
            book: dict[str, int] = orjson.loads(file.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            book = {}
        if name in book and (is_free(book[name], host) or process_table.holds(self.run_dir, book[name])):
            return book[name]
        while (drawn := free_port(host)) in book.values():
            continue
        write_whole(file, orjson.dumps({**book, name: drawn}))
        return drawn

    def _take_over(self, child: _Child) -> bool:
        """Adopt the living process that matches, after ending those of this name that do not."""
        spec = child.spec
        left = [
            process for process in process_table.living_processes(self.run_dir) if process.name == spec.name
        ]
        fitting = [process for process in left if process.digest == spec.digest]
        for process in left:
            if process not in fitting[:1]:
                process_table.end_group(process.pid, None, spec.grace_seconds)
        if not fitting:
            process_table.end_leftovers(self.run_dir, spec.name)
            return False
        child.pid, child.popen, child.born = fitting[0].pid, None, process_table.born(fitting[0].pid)
        self._begin(child)
        return True

    def _start(self, child: _Child) -> None:
        spec = child.spec
        argv = [*(("nice", "-n", str(spec.nice)) if spec.nice else ()), *spec.argv]
        environment = {**os.environ, **spec.env, process_table.MARK: process_table.mark(self.run_dir, spec)}
        try:
            with self._log(spec.name).open("ab") as log:
                child.popen = subprocess.Popen(
                    argv,
                    env=environment,
                    cwd=spec.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            child.phase = ProcessPhase.STOPPED
            raise MissingToolError(f"{spec.name}: {error.filename} is not there or not executable") from error
        except OSError as error:
            child.phase = ProcessPhase.STOPPED
            raise write_error(self._log(spec.name), error) from error
        if spec.nice:
            process_table.yield_processor(child.popen.pid, spec.nice)
        child.pid, child.born = child.popen.pid, process_table.born(child.popen.pid)
        try:
            record = {"name": spec.name, "pid": child.pid, "born": child.born, "digest": spec.digest}
            write_whole(
                process_table.record_file(self.run_dir, spec.name),
                orjson.dumps({**record, "argv": list(spec.argv)}),
            )
        except CapstanError:
            self._end(child)
            raise
        self._begin(child)

    def _begin(self, child: _Child) -> None:
        child.phase = ProcessPhase.STARTING if child.spec.health_url else ProcessPhase.RUNNING
        child.started_at = child.next_check_at = self._monotonic()
        child.was_healthy, child.failed_checks, child.exit_code, child.message = False, 0, None, ""

    def _tick(self, child: _Child) -> list[ProcessEvent]:
        now = self._monotonic()
        name = child.spec.name
        if child.phase is ProcessPhase.BACKING_OFF and now >= child.restart_at:
            return [self._restart(child, now)]
        if child.phase not in (ProcessPhase.STARTING, ProcessPhase.RUNNING):
            return []
        process_table.bound_log(self._log(name), self._max_log_bytes)
        if not self._lives(child):
            return [self._died(child, now)]
        if child.spec.health_url and now >= child.next_check_at:
            return self._check_health(child, child.spec.health_url)
        return []

    def _restart(self, child: _Child, now: float) -> ProcessEvent:
        name = child.spec.name
        child.restarts += 1
        try:
            self._start(child)
        except CapstanError as error:
            delay = child.spec.restart.maximum_seconds if child.spec.restart else 0.0
            child.phase, child.restart_at, child.message = ProcessPhase.BACKING_OFF, now + delay, str(error)
            return ProcessEvent(
                name, "Died", f"{name} could not be started again, next try in {delay:g} s: {error}"
            )
        return ProcessEvent(name, "Restarted", f"{name} was started again (restart {child.restarts})")

    def _check_health(self, child: _Child, url: str) -> list[ProcessEvent]:
        name = child.spec.name
        healthy, message = process_health.answers(url)
        settled = healthy or child.was_healthy
        period = RUNNING_HEALTH_PERIOD_SECONDS if settled else STARTING_HEALTH_PERIOD_SECONDS
        child.next_check_at = self._monotonic() + period
        child.message = "" if healthy else f"{url}: {message}"
        if healthy:
            first, child.was_healthy = not child.was_healthy, True
            child.phase, child.failed_checks = ProcessPhase.RUNNING, 0
            return [ProcessEvent(name, "Healthy", f"{name} answers at {url}")] if first else []
        child.failed_checks += 1
        if child.was_healthy and child.failed_checks >= UNHEALTHY_AFTER and child.spec.restart is not None:
            process_table.end_group(child.pid, child.popen, 0.0)
            return [
                self._died(
                    child, self._monotonic(), f"it did not answer {url} {UNHEALTHY_AFTER} times in a row"
                )
            ]
        return []

    def _died(self, child: _Child, now: float, why: str = "") -> ProcessEvent:
        name, backoff = child.spec.name, child.spec.restart
        child.exit_code = child.popen.poll() if child.popen else None
        process_table.end_leftovers(self.run_dir, name)
        reason = why or f"it ended {ending(child.exit_code)}"
        if backoff is None:
            child.phase, child.message = ProcessPhase.EXITED, reason
            return ProcessEvent(name, "Exited", f"{name}: {reason}")
        quick = now - child.started_at < backoff.quick_seconds
        child.quick_deaths = child.quick_deaths + 1 if quick else 1
        log = self._log(name)
        if child.quick_deaths >= backoff.gives_up_after:
            child.phase = ProcessPhase.GAVE_UP
            child.message = (
                f"{name} died {child.quick_deaths} times within {backoff.quick_seconds:g} s of its start; "
                f"last: {reason}. It is not started again. Its log {log} ends with:\n{process_table.tail(log)}"
            )
            return ProcessEvent(name, "GaveUp", child.message)
        delay = backoff.delay_seconds(child.quick_deaths)
        child.phase, child.restart_at = ProcessPhase.BACKING_OFF, now + delay
        child.message = f"{reason}; started again in {delay:g} s"
        return ProcessEvent(name, "Died", f"{name}: {child.message}")

    def _lives(self, child: _Child) -> bool:
        if child.popen is not None:
            return child.popen.poll() is None
        return child.pid is not None and process_table.lives(child.pid, child.born)

    def _end(self, child: _Child) -> None:
        if child.pid is not None and self._lives(child):
            process_table.end_group(child.pid, child.popen, child.spec.grace_seconds)
        process_table.end_leftovers(self.run_dir, child.spec.name)
        child.phase, child.pid, child.popen, child.message = ProcessPhase.STOPPED, None, None, ""

    def _status(self, child: _Child) -> ProcessStatus:
        return ProcessStatus(
            name=child.spec.name,
            phase=child.phase,
            pid=child.pid if child.phase in (ProcessPhase.STARTING, ProcessPhase.RUNNING) else None,
            restarts=child.restarts,
            exit_code=child.exit_code,
            message=child.message,
            log=self._log(child.spec.name),
        )

    def _log(self, name: str) -> Path:
        return self.log_dir / f"{name}.log"


def ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "for an unknown reason (it was adopted)"
    if exit_code < 0:
        return f"by signal {signal.Signals(-exit_code).name}"
    return f"with exit code {exit_code}"

"""One whole replay: bring the system up, train the first champion, send the recorded traffic, report."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as clock_time
from typing import Protocol
from zoneinfo import ZoneInfo

import orjson

from capstan.dashboard.page import Progress
from capstan.data import extract
from capstan.embedded.client import GatewayClient
from capstan.embedded.clocks import ReplayClock
from capstan.embedded.layout import StateDir
from capstan.embedded.page import serve_page
from capstan.embedded.recorded import RecordedTraffic, record_traffic
from capstan.embedded.replay import Journal, Replay, load_journal
from capstan.embedded.report import Report, make_report
from capstan.embedded.supervisor import Supervisor
from capstan.embedded.wiring import Addresses, wire
from capstan.errors import NotAllowedError
from capstan.files import write_whole
from capstan.ports.store import Event
from capstan.spec import MLSystem
from capstan.spec.replay import Replay as ReplaySpec


class Audience(Protocol):
    """Who is told how it goes."""

    def say(self, text: str) -> None: ...

    def tell(self, event: Event) -> None: ...

    def advance(self, description: str, done: int, total: int, note: str = "") -> None: ...


@dataclass(frozen=True)
class Scope:
    """Which part of the file's replay is run."""

    spec: ReplaySpec
    start: datetime
    end: datetime
    share: float


def scope_of(system: MLSystem, *, end: date | None = None, share: float | None = None) -> Scope:
    """The replay of the file, possibly cut short; raises NotAllowedError if the file has none."""
    spec = system.spec.replay
    if spec is None:
        raise NotAllowedError(
            "spec.replay: the file has none, so there is nothing to send; add `replay: {start: ..., end: ...}`, "
            "or use `capstan up` to serve real requests"
        )
    zone = ZoneInfo(system.spec.data.time_zone)
    last = min(end, spec.end) if end else spec.end
    return Scope(spec, _midnight(spec.start, zone), _midnight(last, zone), share or spec.sample)


def run_demo(
    system: MLSystem,
    state: StateDir,
    audience: Audience,
    *,
    addresses: Addresses,
    scope: Scope,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Report | None:
    """Replay the scope; returns the report, or None if it was stopped before the end.

    Without `resume` the state directory is emptied first. Everything that was started is stopped in the end.
    """
    began = time.monotonic()
    if not resume:
        _empty(state)
    with state.exclusively():
        journal_path = state.journal
        journal, charges = load_journal(journal_path, scope.start)
        journal.save(journal_path, charges)
        clock = ReplayClock(journal.position)
        local = wire(system, state, addresses=addresses, clock=clock, charges=charges)
        supervisor = Supervisor(local, tell=audience.tell, say=audience.say)
        client = GatewayClient(addresses.gateway, connections=scope.spec.connections)
        pace = _Pace(scope, journal)
        close_page = serve_page(local, on_alert=supervisor.hint, progress=pace.progress)
        try:
            supervisor.start()
            audience.say(f"the page: {addresses.page}/?token={state.token('page')}")
            audience.say("reading the recorded traffic")
            traffic = _read_apart(system, scope)
            pace.total = len(traffic)
            audience.say("training the first champion")
            with charges.suspended():
                supervisor.bring_up(stop)
            replay = Replay(
                traffic,
                client=client,
                clock=clock,
                charges=charges,
                settling=supervisor,
                journal=journal,
                journal_path=journal_path,
                end=scope.end,
                tick=scope.spec.tick,
                zone=ZoneInfo(system.spec.data.time_zone),
                stop=stop,
                progress=lambda at: _progress(audience, at, len(traffic)),
            )
            pace.begin()
            replay.run()
            if stop():
                return None
            audience.say("comparing with the static first champion")
            supervisor.settle()
            seconds = time.monotonic() - began
            report = make_report(local, journal, traffic, start=scope.start, end=scope.end, seconds=seconds)
            write_whole(state.report(local.name), orjson.dumps(report, option=orjson.OPT_INDENT_2))
            return report
        finally:
            client.close()
            supervisor.stop()
            close_page()
            local.close()


def _read_apart(system: MLSystem, scope: Scope) -> RecordedTraffic:
    """Read in a process of its own: a year of joined tables needs half a gigabyte that would never be given back."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as reader:
        return reader.submit(read_traffic, system, scope).result()


def read_traffic(system: MLSystem, scope: Scope) -> RecordedTraffic:
    """The rows of the scope, as requests and labels."""
    data = system.spec.data
    table = extract(system, as_of=None, labels_as_of=None, start=scope.start, end=scope.end)
    features = list(dict.fromkeys(feature.column or feature.name for feature in system.spec.features))
    return record_traffic(
        table,
        columns=features,
        id_column=data.keys.id,
        time_column=scope.spec.time_column or data.keys.time,
        key_column=data.keys.sticky_by,
        label_column=data.label.column,
        share=scope.share,
        no_label_delay_microseconds=round(data.label.maximum_delay.total_seconds() * 1e6),
    )


class _Pace:
    """How far the replay is, and how long it will take at the pace so far."""

    def __init__(self, scope: Scope, journal: Journal) -> None:
        self._scope = scope
        self._journal = journal
        self._began: tuple[float, datetime] | None = None
        self.total: int | None = None

    def begin(self) -> None:
        self._began = (time.monotonic(), self._journal.position)

    def progress(self) -> Progress:
        journal = self._journal
        return Progress(
            start=self._scope.start,
            end=self._scope.end,
            position=journal.position,
            sent=journal.answered.sent,
            failed=journal.answered.failed,
            total=self.total,
            seconds_left=self._seconds_left(),
        )

    def _seconds_left(self) -> float | None:
        if self._began is None or self._journal.position <= self._began[1]:
            return None
        began, start = self._began
        return (time.monotonic() - began) * (
            (self._scope.end - self._journal.position) / (self._journal.position - start)
        )


def _progress(audience: Audience, journal: Journal, total: int) -> None:
    failed = f", {journal.answered.failed:,} failed" if journal.answered.failed else ""
    audience.advance("replaying", journal.answered.sent, total, f"{journal.position:%Y-%m-%d}{failed}")


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, clock_time(), tzinfo=zone).astimezone(UTC)


def _empty(state: StateDir) -> None:
    """Remove what an earlier replay left, its processes first; secrets stay.

    Raises NotAllowedError for a directory in which a system was live: its models and payloads are nobody's to remove.
    """
    if not state.root.exists():
        return
    if state.store.exists() and not state.journal.exists():
        raise NotAllowedError(
            f"{state.root}: a live system keeps its state there, which a replay would remove; "
            "name another directory with --state"
        )
    with state.exclusively():
        from capstan.adapters.processes import ProcessSupervisor

        ProcessSupervisor(state.run / "processes", state.logs).stop_all()
        for entry in state.root.iterdir():
            if entry.name not in ("secrets", "lock"):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

"""One whole replay: bring the system up, train the first champion, send the recorded traffic, report."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as clock_time
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import orjson

from capstan.dashboard.page import Progress
from capstan.data import extract
from capstan.embedded.clocks import ReplayClock
from capstan.embedded.layout import StateDir
from capstan.embedded.page import serve_page
from capstan.embedded.replay.client import GatewayClient
from capstan.embedded.replay.reactions import Reactions
from capstan.embedded.replay.recorded_rows import RecordedTraffic, record_traffic
from capstan.embedded.replay.replaying import Journal, Replay, load_journal
from capstan.embedded.replay.report import Report, make_report
from capstan.embedded.supervisor import Supervisor
from capstan.embedded.wiring import Addresses, processes_of, wire
from capstan.errors import CapstanError, NotAllowedError
from capstan.files import write_error, write_whole
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
    """The replay of the file, possibly cut short; raises NotAllowedError if the file has none or nothing is left."""
    spec = system.spec.replay
    if spec is None:
        raise NotAllowedError(
            "spec.replay: the file has none, so there is nothing to send; add `replay: {start: ..., end: ...}`, "
            "or use `capstan up` to serve real requests"
        )
    zone = ZoneInfo(system.spec.data.time_zone)
    last = min(end, spec.end) if end else spec.end
    if last <= spec.start:
        raise NotAllowedError(
            f"--until {last}: is not after replay.start ({spec.start}), so nothing would be sent; name a later day"
        )
    return Scope(spec, _midnight(spec.start, zone), _midnight(last, zone), share or spec.sample)


def run_replay(
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
    if resume:
        _refuse_live(state)
    else:
        _empty(state)
    with state.exclusively():
        journal_path = state.journal
        journal, charges = load_journal(journal_path, scope.start)
        _refuse_other_share(journal, scope)
        # Written at once, so that the next replay may remove one that failed before its first boundary.
        journal.save(journal_path, charges)
        clock = ReplayClock(journal.now)
        local = wire(system, state, addresses=addresses, clock=clock, charges=charges)
        supervisor = Supervisor(local, tell=audience.tell, say=audience.say, stop=stop)
        client = GatewayClient(addresses.gateway, connections=scope.spec.connections)
        pace = _Pace(scope, journal)
        with ExitStack() as ending:
            # Everything is undone in reverse, even if a part of it fails: no process outlives an error on the way down.
            reading = ending.enter_context(_reading(system, scope, state.secrets, stop))
            ending.callback(local.close)
            ending.callback(serve_page(local, on_alert=supervisor.hint, progress=pace.progress))
            ending.callback(supervisor.stop)
            ending.callback(client.close)
            supervisor.start()
            audience.say(f"the page: {addresses.page}/?token={state.token('page')}")
            with charges.suspended():
                if not supervisor.bring_back():
                    audience.say("reading the recorded traffic, and training the first champion")
                    supervisor.bring_up(lambda: stop() or _has_failed(reading))
            traffic = reading.result()
            if traffic is None or stop():
                return None
            pace.total = len(traffic)
            reactions = None
            if scope.spec.events is not None:
                reactions = Reactions(system, traffic, state.system(local.name))
                ending.callback(reactions.close)
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
                reactions=reactions,
            )
            pace.begin()
            journal.share = scope.share
            replay.run()
            if stop():
                return None
            audience.say("comparing with the static first champion")
            supervisor.settle()
            seconds = time.monotonic() - began
            report = make_report(local, journal, traffic, start=scope.start, end=scope.end, seconds=seconds)
            write_whole(state.report(local.name), orjson.dumps(report, option=orjson.OPT_INDENT_2))
            return report


@contextmanager
def _reading(
    system: MLSystem, scope: Scope, secrets: Path, stop: Callable[[], bool]
) -> Iterator[Future[RecordedTraffic | None]]:
    """What `read_apart` returns or raises, while something else goes on; its process ends before the context does."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reading") as beside:
        yield beside.submit(lambda: read_apart(system, scope, secrets, stop))


def _has_failed(reading: Future[RecordedTraffic | None]) -> bool:
    return reading.done() and reading.exception() is not None


def read_apart(
    system: MLSystem, scope: Scope, secrets: Path, stop: Callable[[], bool]
) -> RecordedTraffic | None:
    """Read in a process of its own, because a year of joined tables needs half a gigabyte that would never be
    given back.

    None: it was stopped meanwhile. Raises InvalidDataError, CapstanError.
    """
    try:
        with ProcessPoolExecutor(
            max_workers=1, mp_context=multiprocessing.get_context("spawn"), initializer=_leave_interrupts
        ) as reader:
            return reader.submit(read_traffic, system, scope, secrets).result()
    except BrokenProcessPool as error:
        if stop():
            return None
        raise CapstanError(
            "reading the recorded traffic: its process was killed, most often for want of memory; "
            "free some, or send less with --sample"
        ) from error


def _leave_interrupts() -> None:
    """Ignore Ctrl-C, which reaches the whole terminal: this process ends with its parent's work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def read_traffic(system: MLSystem, scope: Scope, secrets: Path | None = None) -> RecordedTraffic:
    """The rows of the scope, as requests and labels; `secrets` as in `capstan.data.extract`."""
    data = system.spec.data
    table = extract(system, as_of=None, labels_as_of=None, start=scope.start, end=scope.end, secrets=secrets)
    features = list(dict.fromkeys(feature.column or feature.name for feature in system.spec.features))
    return record_traffic(
        table,
        columns=features,
        id_column=data.keys.id_column,
        time_column=scope.spec.time_column or data.keys.time_column,
        key_column=data.keys.sticky_by,
        group_column=data.keys.group,
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


_OTHERS = ("beside", "hosts", "backtests")
"""Folders of other systems, which may be live while this one is replayed, and of backtests."""
_OWN = frozenset(
    (
        "state.db",
        "state.db-wal",
        "state.db-shm",
        "mlflow.db",
        "mlflow.db-wal",
        "mlflow.db-shm",
        "mlflow.db-journal",
    )
) | {"mlartifacts", "bentos", "secrets", "logs", "run", "reports", "tokens", "systems", "replay.json", "lock"}
"""Names of what Capstan writes into a state directory."""


def _refuse_live(state: StateDir) -> None:
    if state.store.exists() and not state.journal.exists():
        raise NotAllowedError(
            f"{state.root}: a live system keeps its state there, which a replay would remove; "
            "name another directory with --state"
        )


def _refuse_other_share(journal: Journal, scope: Scope) -> None:
    if journal.share not in (None, scope.share):
        raise NotAllowedError(
            f"--sample {scope.share:g}: this replay has sent a share of {journal.share:g} until now, and windows "
            f"and report would mix both; go on with --sample {journal.share:g}, or begin anew without --resume"
        )


def _empty(state: StateDir) -> None:
    """Remove what an earlier replay left, its processes first; secrets and systems beside it stay.

    Raises NotAllowedError for a directory in which a system was live, and for one that holds anything else: neither
    models and payloads nor somebody's files are a replay's to remove.
    """
    if not state.root.exists():
        return
    _refuse_live(state)
    try:
        foreign = sorted(entry.name for entry in state.root.iterdir() if entry.name not in (*_OWN, *_OTHERS))
        if foreign and not state.journal.exists():
            raise NotAllowedError(
                f"{state.root}: holds {foreign[0]!r}, which no replay wrote and which would be removed; "
                "name another directory with --state"
            )
        with state.exclusively():
            processes_of(state).stop_all()
            for entry in state.root.iterdir():
                if entry.name not in ("secrets", "lock", *_OTHERS):
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    except OSError as error:
        raise write_error(state.root, error) from error

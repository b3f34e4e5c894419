"""Every port in memory, for simulations: nothing here runs anything, and each part can be told to fail.

Each class keeps what a real part would keep through a crash of the loop, so a simulation can throw the loop away and go
on with a new one.
"""

from __future__ import annotations

import copy
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from capstan.domain.batch_calendar import BatchOrder, BatchStatus
from capstan.domain.steps.questions import Arms, Interleaving
from capstan.domain.traffic import TrafficSplit
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.triggers import Alert, OperationAlert, Webhooks
from capstan.domain.verdicts.evidence import ArmsEvidence, OperationEvidence, PairedEvidence, QueryEvidence
from capstan.domain.verdicts.preference import PreferenceEvidence
from capstan.domain.versions import ModelVersion, Readiness, RunName, SystemName, VersionName
from capstan.domain.watching import OnlineStanding, QuestionStanding, Standing
from capstan.errors import ConflictError, NotAllowedError, UnavailableError, UntrustedArtifactError
from capstan.ports.clock import Clock
from capstan.ports.seals import sealed
from capstan.ports.serving import Endpoint
from capstan.ports.store import Event, Kind, Record


class Faults:
    """Raises on chosen calls: `on("apply", 3, error)` fails the third `apply` from now; `away = reason` fails all."""

    def __init__(self, part: str) -> None:
        self.part = part
        self.away: str | None = None
        self._calls: Counter[str] = Counter()
        self._planned: dict[tuple[str, int], BaseException] = {}

    def on(self, method: str, nth: int, error: BaseException) -> None:
        self._planned[method, self._calls[method] + nth] = error

    def meet(self, method: str) -> None:
        self._calls[method] += 1
        error = self._planned.pop((method, self._calls[method]), None)
        if error is not None:
            raise error
        if self.away is not None:
            raise UnavailableError(self.part, self.away)


class MemoryClock:
    """Both clocks stand still until moved; `advance` moves them together, `jump` only one."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._wall = now

    def now(self) -> datetime:
        return self._now

    def wall(self) -> datetime:
        return self._wall

    def advance(self, duration: timedelta) -> None:
        self._now += duration
        self._wall += duration

    def jump(self, *, now: timedelta = timedelta(0), wall: timedelta = timedelta(0)) -> None:
        self._now += now
        self._wall += wall


class MemoryStore:
    """Records and events in two dictionaries."""

    def __init__(self) -> None:
        self.faults = Faults("store")
        self._records: dict[tuple[Kind, str], tuple[Record, str]] = {}
        """Records with spec and status as JSON, so that nobody shares a dictionary with the store."""
        self._events: list[Event] = []
        self._once: set[str] = set()
        self._seals: dict[str, str] = {}
        """The last of each system."""
        self._lock = threading.RLock()

    def get(self, kind: Kind, name: str) -> Record | None:
        self.faults.meet("get")
        with self._lock:
            found = self._records.get((kind, name))
        return _unfrozen(*found) if found else None

    def list(self, kind: Kind, system: SystemName | None = None) -> Sequence[Record]:
        self.faults.meet("list")
        with self._lock:
            return [
                _unfrozen(record, content)
                for record, content in (self._records[key] for key in sorted(self._records))
                if record.kind is kind and system in (None, record.system)
            ]

    def put(self, record: Record) -> Record:
        self.faults.meet("put")
        with self._lock:
            known = self._records.get((record.kind, record.name))
            stored = _unfrozen(*known) if known else None
            found = stored.resource_version if stored else 0
            if found != record.resource_version:
                raise ConflictError(
                    f"{record.kind} {record.name}: stored version {found}, yours {record.resource_version}; "
                    "read it again"
                )
            generation = stored.generation + (stored.spec != record.spec) if stored else 1
            content = json.dumps([record.spec, record.status])
            kept = replace(record, resource_version=found + 1, generation=generation, spec={}, status={})
            self._records[record.kind, record.name] = (kept, content)
            return _unfrozen(kept, content)

    def delete(self, kind: Kind, name: str) -> None:
        self.faults.meet("delete")
        with self._lock:
            self._records.pop((kind, name), None)

    def record_event(self, event: Event, *, once: str = "") -> None:
        self.faults.meet("record_event")
        with self._lock:
            if once and once in self._once:
                return
            self._once.add(once)
            told = sealed(SystemName(event.system), copy.deepcopy(event), self._seals.get(event.system, ""))
            self._seals[event.system] = told.seal
            self._events.append(told)

    def events(self, system: SystemName | None = None, *, after: int = 0) -> Sequence[tuple[int, Event]]:
        self.faults.meet("events")
        with self._lock:
            return [
                (number, copy.deepcopy(event))
                for number, event in enumerate(self._events, start=1)
                if number > after and system in (None, event.system)
            ]


def _unfrozen(record: Record, content: str) -> Record:
    spec, status = json.loads(content)
    return replace(record, spec=spec, status=status)


class MemoryRegistry:
    """Versions `v1`, `v2`, ... in the order of registration."""

    def __init__(self) -> None:
        self.faults = Faults("registry")
        self._versions: dict[VersionName, ModelVersion] = {}
        self._aliases: dict[str, VersionName] = {}
        self.moves: list[tuple[str, VersionName | None]] = []
        """Every real change of an alias, in order."""

    def register(
        self,
        version: ModelVersion,
        *,
        tags: Mapping[str, str],  # noqa: ARG002
        metrics: Mapping[str, float],
    ) -> ModelVersion:
        self.faults.meet("register")
        known = self._of(version.run, version.rank)
        if known is not None:
            return known
        name = VersionName(f"v{len(self._versions) + 1}")
        kept = replace(version, name=name, metrics=dict(metrics))
        self._versions[name] = kept
        return kept

    def version(self, name: VersionName) -> ModelVersion | None:
        self.faults.meet("version")
        return self._versions.get(name)

    def version_of(self, run: RunName, rank: int = 0) -> ModelVersion | None:
        self.faults.meet("version_of")
        return self._of(run, rank)

    def _of(self, run: RunName, rank: int) -> ModelVersion | None:
        made = (version for version in self._versions.values() if version.run == run)
        return next((version for version in made if version.rank == rank), None)

    def versions(self) -> Sequence[ModelVersion]:
        self.faults.meet("versions")
        return list(self._versions.values())

    def aliases(self) -> Mapping[str, VersionName]:
        self.faults.meet("aliases")
        return dict(self._aliases)

    def set_alias(self, alias: str, version: VersionName | None) -> None:
        self.faults.meet("set_alias")
        if self._aliases.get(alias) == version:
            return
        self.moves.append((alias, version))
        if version is None:
            self._aliases.pop(alias, None)
        else:
            self._aliases[alias] = version


class MemoryServing:
    """Versions that become ready `startup` after `deploy`, or never."""

    def __init__(self, clock: Clock, startup: timedelta = timedelta(0)) -> None:
        self.faults = Faults("serving")
        self.startup = startup
        self.never_ready: set[VersionName] = set()
        self.untrusted: set[VersionName] = set()
        self.starts: Counter[VersionName] = Counter()
        self._clock = clock
        self._since: dict[VersionName, datetime] = {}
        self._crashed: set[VersionName] = set()

    def deploy(self, version: ModelVersion) -> None:
        self.faults.meet("deploy")
        if version.name in self.untrusted:
            raise UntrustedArtifactError(f"{version.bento_tag} does not hash to {version.digest}; not loaded")
        if version.name not in self._since:
            self.starts[version.name] += 1
            self._since[version.name] = self._clock.wall()

    def retire(self, name: VersionName) -> None:
        self.faults.meet("retire")
        self._since.pop(name, None)
        self._crashed.discard(name)

    def readiness(self) -> Mapping[VersionName, Readiness]:
        self.faults.meet("readiness")
        return {name: self._readiness(name) for name in self._since}

    def _readiness(self, name: VersionName) -> Readiness:
        if name in self._crashed:
            return Readiness.CRASHED
        started = self._clock.wall() - self._since[name] >= self.startup
        return Readiness.READY if started and name not in self.never_ready else Readiness.STARTING

    def endpoint(self, name: VersionName) -> Endpoint | None:
        self.faults.meet("endpoint")
        if name not in self._since:
            return None
        return Endpoint("127.0.0.1", 10_000 + sum(name.encode()))

    def crash(self, name: VersionName) -> None:
        """The version ends; it comes back with `recover`."""
        self._crashed.add(name)

    def recover(self, name: VersionName) -> None:
        self._crashed.discard(name)


class MemoryTraffic:
    """A gateway that obeys at once, unless `deaf`."""

    def __init__(self) -> None:
        self.faults = Faults("gateway")
        self.deaf = False
        self.refuses: Callable[[TrafficSplit], str | None] = lambda _split: None
        self.applied: list[TrafficSplit] = []
        """Every real change of the split, in order."""
        self._split: TrafficSplit | None = None

    def apply(self, split: TrafficSplit, endpoints: Mapping[VersionName, Endpoint]) -> None:
        self.faults.meet("apply")
        missing = split.versions - endpoints.keys()
        if missing:
            raise NotAllowedError(f"no endpoint for {', '.join(sorted(missing))}; deploy it first")
        refusal = self.refuses(split)
        if refusal is not None:
            raise NotAllowedError(refusal)
        if split != self._split and not self.deaf:
            self.applied.append(split)
            self._split = split

    def read_back(self) -> TrafficSplit | None:
        self.faults.meet("read_back")
        return self._split

    def refusal(self, split: TrafficSplit) -> str | None:
        self.faults.meet("refusal")
        return self.refuses(split)

    def edit_by_hand(self, split: TrafficSplit) -> None:
        """Somebody else changes the split."""
        self._split = split


@dataclass(frozen=True)
class Training:
    """What the next run will come to."""

    result: RunStatus
    takes: timedelta = timedelta(0)
    """Wall time."""


class MemoryPipelines:
    """Runs that end as arranged by `plan(request)`; successful ones register their version."""

    def __init__(
        self, clock: Clock, registry: MemoryRegistry, plan: Callable[[TrainingRequest], Training]
    ) -> None:
        self.faults = Faults("pipelines")
        self.plan = plan
        self.started: list[TrainingRequest] = []
        """Every run that was really started, in order."""
        self._clock = clock
        self._registry = registry
        self._since: dict[RunName, tuple[TrainingRequest, datetime, Training]] = {}
        self._results: dict[RunName, RunStatus] = {}

    def start(self, request: TrainingRequest) -> None:
        self.faults.meet("start")
        if request.run not in self._since:
            self.started.append(request)
            self._since[request.run] = (request, self._clock.wall(), self.plan(request))

    def status(self, run: RunName) -> RunStatus:
        self.faults.meet("status")
        if run in self._results:
            return self._results[run]
        if run not in self._since:
            return RunStatus(RunPhase.ABSENT)
        _, since, training = self._since[run]
        if self._clock.wall() - since < training.takes:
            return RunStatus(RunPhase.RUNNING)
        result = training.result
        if result.version is not None:
            try:
                version, *runners_up = [
                    self._registry.register(made, tags={}, metrics=made.metrics) for made in result.made
                ]
            except UnavailableError as error:
                return RunStatus(RunPhase.RUNNING, message=f"register waits: {error}")
            named = zip(result.runners_up, runners_up, strict=True)
            result = replace(
                result,
                version=version,
                runners_up=tuple(replace(one, version=known) for one, known in named),
            )
        self._results[run] = result
        return result

    def cancel(self, run: RunName) -> None:
        self.faults.meet("cancel")
        if run in self._since and run not in self._results:
            self._results[run] = RunStatus(RunPhase.CANCELLED)


@dataclass(frozen=True)
class Batch:
    """What a try of a batch will come to."""

    status: BatchStatus
    takes: timedelta = timedelta(0)
    """Wall time."""


class MemoryBatches:
    """Tries that end as arranged by `plan(order)`."""

    def __init__(self, clock: Clock, plan: Callable[[BatchOrder], Batch]) -> None:
        self.faults = Faults("batches")
        self.plan = plan
        self.started: list[BatchOrder] = []
        """Every try that was really begun, in order."""
        self._clock = clock
        self._since: dict[str, tuple[datetime, Batch]] = {}
        self._stopped: set[str] = set()

    def start(self, order: BatchOrder) -> None:
        self.faults.meet("start")
        if order.key not in self._since:
            self.started.append(order)
            self._since[order.key] = (self._clock.wall(), self.plan(order))

    def status(self, order: BatchOrder) -> BatchStatus:
        self.faults.meet("status")
        if order.key not in self._since:
            return BatchStatus(RunPhase.ABSENT)
        if order.key in self._stopped:
            return BatchStatus(RunPhase.CANCELLED, "it was ended")
        since, batch = self._since[order.key]
        return batch.status if self._clock.wall() - since >= batch.takes else BatchStatus(RunPhase.RUNNING)

    def stop(self, order: BatchOrder) -> None:
        self.faults.meet("stop")
        if self.status(order).phase is RunPhase.RUNNING:
            self._stopped.add(order.key)


@dataclass
class MemoryEvidence:
    """Answers from functions of (champion, challenger, metric, since, as_of) and of (need, since, as_of)."""

    pairs: Callable[[VersionName, VersionName, str, datetime, datetime], PairedEvidence]
    by_arm: Callable[[Arms, datetime, datetime], ArmsEvidence] = lambda _need, _since, _as_of: ArmsEvidence()
    preferred: Callable[[Interleaving, datetime, datetime], PreferenceEvidence] = (
        lambda _need, _since, _as_of: PreferenceEvidence()
    )
    counted: Callable[[datetime, datetime], int] = lambda _since, _as_of: 0
    """New labels, of (since, as_of)."""
    called: Webhooks = field(default_factory=Webhooks)
    faults: Faults = field(default_factory=lambda: Faults("collector"))

    def webhooks(self) -> Webhooks:
        self.faults.meet("webhooks")
        return self.called

    def labelled(self, *, since: datetime, as_of: datetime) -> int:
        self.faults.meet("labelled")
        return self.counted(since, as_of)

    def paired(
        self,
        champion: VersionName,
        challenger: VersionName,
        *,
        metric: str,
        since: datetime,
        as_of: datetime,
    ) -> PairedEvidence:
        self.faults.meet("paired")
        return self.pairs(champion, challenger, metric, since, as_of)

    def arms(self, asked: Arms, *, since: datetime, as_of: datetime) -> ArmsEvidence:
        self.faults.meet("arms")
        return self.by_arm(asked, since, as_of)

    def interleaved(
        self,
        champion: VersionName,
        challenger: VersionName,
        asked: Interleaving,
        *,
        since: datetime,
        as_of: datetime,
    ) -> PreferenceEvidence:
        del champion, challenger
        self.faults.meet("interleaved")
        return self.preferred(asked, since, as_of)


@dataclass
class MemoryOperation:
    """Answers from a function of (champion, challenger, since_wall, now_wall, shadow)."""

    counters: Callable[[VersionName, VersionName, datetime, datetime, bool], OperationEvidence]
    queries: Callable[[str, datetime, datetime, timedelta], QueryEvidence] = lambda *_: QueryEvidence()
    """Of (promql, since_wall, now_wall, interval)."""
    faults: Faults = field(default_factory=lambda: Faults("prometheus"))

    def operation(
        self,
        champion: VersionName,
        challenger: VersionName,
        *,
        since_wall: datetime,
        now_wall: datetime,
        shadow: bool,
    ) -> OperationEvidence:
        self.faults.meet("operation")
        return self.counters(champion, challenger, since_wall, now_wall, shadow)

    def own_query(
        self, promql: str, *, since_wall: datetime, now_wall: datetime, interval: timedelta
    ) -> QueryEvidence:
        self.faults.meet("own_query")
        return self.queries(promql, since_wall, now_wall, interval)


@dataclass
class MemoryAlerts:
    """Alerts that fire until taken away."""

    firing: list[Alert] = field(default_factory=list)
    about_operation: list[OperationAlert] = field(default_factory=list)
    faults: Faults = field(default_factory=lambda: Faults("alertmanager"))

    def active(self) -> Sequence[Alert]:
        self.faults.meet("active")
        return list(self.firing)

    def operation(self) -> Sequence[OperationAlert]:
        self.faults.meet("operation")
        return list(self.about_operation)


@dataclass
class MemoryMonitoring:
    """Remembers what it was told to watch."""

    watched: list[tuple[VersionName, datetime]] = field(default_factory=list)
    questions: tuple[QuestionStanding, ...] = ()
    online: tuple[OnlineStanding, ...] = ()
    faults: Faults = field(default_factory=lambda: Faults("monitor"))

    def standing(self) -> Standing:
        self.faults.meet("standing")
        return Standing(self.watched[-1][0] if self.watched else None, self.questions, self.online)

    def watch(self, version: VersionName, *, since: datetime) -> None:
        self.faults.meet("watch")
        if not self.watched or self.watched[-1] != (version, since):
            self.watched.append((version, since))

"""A whole world in memory around the real engine: time, models, traffic, alerts, crashes, and the story."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from capstan.adapters.memory.loop import (
    Batch,
    MemoryAlerts,
    MemoryBatches,
    MemoryClock,
    MemoryEvidence,
    MemoryMonitoring,
    MemoryOperation,
    MemoryPipelines,
    MemoryRegistry,
    MemoryServing,
    MemoryStore,
    MemoryTraffic,
    Training,
)
from capstan.domain.actions import Verb
from capstan.domain.batch_calendar import BatchOrder, BatchStatus
from capstan.domain.planners.rollout import describe_split
from capstan.domain.steps.questions import Arms
from capstan.domain.system import SystemPolicy
from capstan.domain.traffic import TrafficSplit
from capstan.domain.training import GateOutcome, RunnerUp, RunPhase, RunStatus, TrainingRequest
from capstan.domain.triggers import Alert
from capstan.domain.verdicts.evidence import (
    ArmDay,
    ArmsEvidence,
    ArmSums,
    LossBlock,
    OperationEvidence,
    PairedEvidence,
    QueryEvidence,
    QueryMeasurement,
    VersionOperation,
)
from capstan.domain.versions import Digest, ModelVersion, VersionName
from capstan.engine import Engine, Outcome, Waiting, commands
from capstan.engine.policies import policy_of
from capstan.ports.store import Kind, Record

SYSTEM = "flights"
START = datetime(2013, 2, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
DELAY = timedelta(days=2)
"""Longest time that a label takes, as the file says."""

SPEC: dict[str, Any] = {
    "objective": {"task": "BinaryClassification", "target": "late"},
    "data": {
        "sources": [{"name": "flights", "csv": {"path": "flights.csv", "timeColumn": "departure"}}],
        "keys": {"id": "flight_id", "time": "departure"},
        "label": {"column": "late", "availableAt": "arrival", "maximumDelay": "2d"},
    },
    "features": [{"name": "distance", "numeric": {}}],
    "rollout": {
        "steps": [
            {
                "shadow": {
                    "percent": 100,
                    "minRequests": 2000,
                    "minLabels": 2000,
                    "minBlocks": 7,
                    "analyses": ["quality"],
                    "deadline": "21d",
                }
            },
            {"canary": {"weight": 25, "duration": "2d", "minRequests": 100}},
            {"canary": {"weight": 50, "duration": "2d", "minRequests": 200}},
        ],
        "analyses": [{"name": "quality", "metric": "logLoss", "decide": "UnlessWorse", "margin": 0.01}],
        "progressDeadline": "5m",
        "limits": {
            "failures": 1,
            "inconclusive": 5,
            "errors": 2,
            "onInconclusive": "Hold",
            "onError": "Hold",
        },
    },
    "retraining": {
        "triggers": [{"drift": {}}, {"quality": {}}],
        "cooldown": "14d",
        "budget": {"runs": 4, "per": "60d"},
        "backoff": {"initial": "1h", "maximum": "2d", "circuitAfter": 3},
        "loopBreaker": 2,
    },
}


NOT_KEPT = frozenset(("faults", "plan", "refuses", "_clock", "_lock", "_registry"))
"""Of the parts in memory: other parts, and what only the story changes."""


_POLICIES: dict[str, SystemPolicy] = {}


def policy_once(record: Record) -> SystemPolicy:
    """What the file says: read once for all processes of the loop, since it is made from the text and nothing else."""
    text = json.dumps([record.name, record.spec])
    if text not in _POLICIES:
        _POLICIES[text] = policy_of(record)
    return _POLICIES[text]


class Crash(BaseException):
    """The loop is killed; only what the parts keep survives."""


TRIGGERS_OF = {
    "DriftDetected": "drift",
    "PredictionDrifted": "drift",
    "MissingValuesRose": "drift",
    "QualityDropped": "quality",
}


@dataclass
class Model:
    """What a version is like."""

    gain: float = 0.02
    """Mean loss(champion) - loss(it) per request."""
    error_rate: float = 0.0
    slowness: float = 1.0
    """Its latency over the champion's."""
    labels: bool = True
    nonfinite: int = 0
    refunds: float | None = 0.01
    """What a query of the file's own answers for it; None: no series."""
    complaints: float = 0.0
    """By how many a unit of it complains more often than one of the champion's."""


class _Watched:
    """A part whose every call can be the one at which the loop dies, and whose effects are noted in the story."""

    def __init__(self, world: World, name: str, part: Any) -> None:
        self._world, self._name, self._part = world, name, part

    def __getattr__(self, method: str) -> Any:
        value = getattr(self._part, method)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._world.before_call(f"{self._name}.{method}")
            try:
                return value(*args, **kwargs)
            finally:
                self._world.after_call(f"{self._name}.{method}")

        return call


class World:
    """Everything but the engine; `settle` runs the engine, through crashes if some are planned."""

    def __init__(self, spec: dict[str, Any] | None = None) -> None:
        self.clock = MemoryClock(START)
        self.store = MemoryStore()
        self.registry = MemoryRegistry()
        self.serving = MemoryServing(self.clock)
        self.traffic = MemoryTraffic()
        self.obeyed_since: list[tuple[datetime, TrafficSplit]] = []
        """Every split of the gateway, with the moment from which on it was obeyed."""
        self.pipelines = MemoryPipelines(self.clock, self.registry, self._train)
        self.batches = MemoryBatches(self.clock, self._predict)
        self.evidence = MemoryEvidence(self._pairs, self._by_arm)
        self.operation = MemoryOperation(self._operate, self._query)
        self.alerts = MemoryAlerts()
        self.monitoring = MemoryMonitoring()
        self.models: dict[str, Model] = {}
        self.training: Callable[[TrainingRequest], Training] | None = None
        self.batch: Callable[[BatchOrder], Batch] | None = None
        self.gates_pass = True
        self.runners_up: tuple[bool, ...] = ()
        """Of each runner-up that a training makes: whether it passes its gates."""
        self.left_out: dict[str, str] = {}
        """Candidates that a training can't make runners-up, with the reason."""
        self.requests_per_day = 1000
        self.obeyed: dict[str, float] | None = None
        """Shares that the versions really get; None: the gateway obeys."""
        self.lines: list[str] = []
        self.calls: list[str] = []
        self.crash_at: tuple[int, str] | None = None
        self.crashes = 0
        self.settled = 0
        """How often the story has let the engine run."""
        self.outcome: Outcome | None = None
        self._noticed = (0, 0, 0)
        self._signs = (0, 0, 0, 0, 0)
        """How much there was to notice at the last look."""
        self._serving: set[str] = set()
        self._deployed: dict[str, int] = {}
        self._engine: Engine | None = None
        self.store.put(Record(Kind.SYSTEM, SYSTEM, SYSTEM, spec=copy.deepcopy(spec or SPEC)))

    # -- the engine, and killing it

    def settle(self, most: int = 200) -> Outcome:
        """Reconcile until there is nothing to do but wait."""
        self.settled += 1
        for _ in range(most):
            try:
                outcome = self.engine().reconcile(SYSTEM)
            except Crash:
                self.crashes += 1
                self._engine = None
                if self.store.get(Kind.SYSTEM, SYSTEM) is None:
                    return Outcome(False, Waiting.NOTHING)
                continue
            self.check_invariants()
            if not outcome.changed:
                self.outcome = outcome
                return outcome
            if self.store.get(Kind.SYSTEM, SYSTEM) is None:
                self.outcome = outcome
                return outcome
        raise AssertionError(f"did not settle: {outcome}")

    def engine(self) -> Engine:
        if self._engine is None:
            parts = {
                "store": self.store,
                "pipelines": self.pipelines,
                "registry": self.registry,
                "serving": self.serving,
                "traffic": self.traffic,
                "evidence": self.evidence,
                "operation": self.operation,
                "alerts": self.alerts,
                "monitoring": self.monitoring,
                "batches": self.batches,
            }
            self._engine = Engine(
                **{name: _Watched(self, name, part) for name, part in parts.items()},
                clock=self.clock,
                policy=policy_once,
            )
        return self._engine

    def found_by_the_next(self) -> str:
        """All that the loop's next process finds; the same if nothing was changed meanwhile."""
        parts = (
            self.store,
            self.registry,
            self.serving,
            self.traffic,
            self.pipelines,
            self.monitoring,
            self.batches,
        )
        kept = [{name: value for name, value in vars(part).items() if name not in NOT_KEPT} for part in parts]
        return repr((self.settled, self.clock.now(), self.clock.wall(), kept))

    def future(self) -> str:
        """All that the rest of the story follows from: what is there, and what this process of the loop remembers."""
        engine = self._engine
        memories = (engine, engine._observer, engine._applier) if engine is not None else ()
        known = [
            {
                name: value
                for name, value in vars(memory).items()
                if name not in ("_observer", "_applier", "_clock", "_policy")
                and not isinstance(value, _Watched)
            }
            for memory in memories
        ]
        return repr((self.found_by_the_next(), known, self.models, self.alerts.firing))

    def restart(self) -> None:
        """A new process of the loop."""
        self._engine = None

    def before_call(self, call: str) -> None:
        self.calls.append(call)
        if self.dies("before"):
            raise Crash(call)

    def after_call(self, call: str) -> None:
        if call == "store.record_event" and len(self.store._events) == self._noticed[0]:
            self.calls[-1] = "store.heard_before"
        self._notice()
        if self.dies("after"):
            raise Crash(call)

    def dies(self, when: str) -> bool:
        """Whether the loop is killed now, before or after the call that is made."""
        return self.crash_at == (len(self.calls), when)

    def _notice(self) -> None:
        signs = (
            len(self.store._events),
            len(self.traffic.applied),
            len(self.registry.moves),
            self.serving.starts.total(),
            len(self.serving._since),
        )
        if signs == self._signs:
            return
        self._signs = signs
        events, splits, moves = self._noticed
        at = f"{self.clock.now():%Y-%m-%d %H:%M}"
        for number, event in self.store.events(after=events):
            self.lines.append(f"{at}  {event.kind}: {event.reason}: {event.message}")
            events = number
        for split in self.traffic.applied[splits:]:
            self.obeyed_since.append((self.clock.now(), split))
            self.lines.append(f"{at}    traffic -> {describe_split(split)}")
        for alias, version in self.registry.moves[moves:]:
            self.lines.append(f"{at}    alias {alias} -> {version or 'nobody'}")
        for version in sorted(self.serving.starts.keys() | self._deployed.keys()):
            if self.serving.starts[version] != self._deployed.get(version, 0):
                self.lines.append(f"{at}    deploy {version}")
                self._deployed[version] = self.serving.starts[version]
        serving = set(self.serving._since)
        self.lines += [f"{at}    retire {version}" for version in sorted(self._serving - serving)]
        self._serving = serving
        self._noticed = (events, len(self.traffic.applied), len(self.registry.moves))

    def check_invariants(self) -> None:
        """What must hold after every pass, whatever happened."""
        for split in self.traffic.applied[-1:]:
            present = self.serving._since
            assert split.versions <= present.keys() or self.is_gone, (
                f"traffic to {split.versions - present.keys()}"
            )
        active = [run for run in self.pipelines.started if self.pipelines._results.get(run.run) is None]
        assert len(active) <= 1, f"runs at once: {active}"

    @property
    def is_gone(self) -> bool:
        record = self.store.get(Kind.SYSTEM, SYSTEM)
        return record is None or record.deleted_at is not None

    # -- what happens

    def days(self, count: float, *, step: timedelta = DAY) -> None:
        """Time passes, the loop looks at every step."""
        end = self.clock.now() + timedelta(days=count)
        while self.clock.now() < end:
            self.clock.advance(min(step, end - self.clock.now()))
            self.settle()

    def minutes(self, count: float) -> None:
        self.clock.advance(timedelta(minutes=count))
        self.settle()

    def note(self, line: str) -> None:
        self.lines.append(f"{self.clock.now():%Y-%m-%d %H:%M}  -- {line}")

    def start(self, *, model: Model | None = None) -> None:
        """The first model is trained, deployed and has all traffic."""
        self.models["v1"] = model or Model()
        self.settle()
        assert self.champion == "v1"

    def fire(self, name: str = "DriftDetected", *, mark: str = "", version: str | None = None) -> Alert:
        about = VersionName(version or self.champion)
        alert = Alert(
            name,
            about,
            fingerprint=mark or f"{name}-{about}",
            as_of=self.clock.now(),
            summary="ks(dep_hour) 0.21 > 0.12 in 2 windows of 7 days",
            trigger=TRIGGERS_OF.get(name, ""),
        )
        self.alerts.firing = [a for a in self.alerts.firing if a.fingerprint != alert.fingerprint] + [alert]
        return alert

    def resolve(self) -> None:
        self.alerts.firing = []

    def ask(self, verb: Verb, version: str | None = None) -> None:
        self.note(f"capstan {verb}{' ' + version if version else ''}")
        commands.issue(self.store, SYSTEM, verb, version=version, at=self.clock.now())

    def edit_file(self, change: Callable[[dict[str, Any]], None]) -> None:
        record = self.store.get(Kind.SYSTEM, SYSTEM)
        assert record is not None
        spec = copy.deepcopy(dict(record.spec))
        change(spec)
        self.store.put(replace(record, spec=spec))

    def delete(self) -> None:
        self.note("capstan delete")
        commands.delete(self.store, SYSTEM, at=self.clock.now())

    # -- what is seen

    @property
    def champion(self) -> str:
        return str(self._state().get("champion", {}).get("name", ""))

    def _state(self) -> Any:
        record = self.store.get(Kind.SYSTEM, SYSTEM)
        assert record is not None
        return record.status["state"]

    @property
    def state(self) -> Any:
        return self._state()

    def reasons(self) -> list[str]:
        return [event.reason for _, event in self.store.events()]

    def messages(self, reason: str) -> list[str]:
        return [event.message for _, event in self.store.events() if event.reason == reason]

    def story(self) -> str:
        return "\n".join(self.lines) + "\n"

    def end(self) -> dict[str, Any]:
        """Everything that must be the same however often the loop was killed."""
        records = [
            (record.kind, record.name, record.spec, {**record.status, "outbox": None, "conditions": None})
            for kind in Kind
            for record in self.store.list(kind)
        ]
        for _, _, _, status in records:
            for observed in ("incarnation", "away", "outages", "met"):
                status.get("state", {}).pop(observed, None)
        return {
            "records": records,
            "events": [
                (event.kind, event.name, event.reason, event.message)
                for _, event in self.store.events()
                # A loop that died after it had asked meets the outage at its next question only.
                if event.reason not in ("PartAway", "PartBack")
            ],
            "splits": self.traffic.applied,
            "aliases": dict(self.registry.aliases()),
            "moves": self.registry.moves,
            "runs": [request.run for request in self.pipelines.started],
            "batches": self.batches.started,
            "deployed": dict(self.serving.starts),
            "serving": sorted(self.serving.readiness()),
        }

    # -- how batches and models behave

    def _predict(self, order: BatchOrder) -> Batch:
        return self._predict_rows(order) if self.batch is None else self.batch(order)

    def _predict_rows(self, _order: BatchOrder) -> Batch:
        rows = BatchStatus(
            RunPhase.SUCCEEDED,
            read=1000,
            written=998,
            refused=2,
            reasons=("distance: is below 0",),
            output="there",
            seconds=94.0,
        )
        return Batch(rows, takes=timedelta(minutes=2))

    def _train(self, request: TrainingRequest) -> Training:
        if self.training is not None:
            return self.training(request)
        return self.trained(request)

    def trained(self, request: TrainingRequest, *, gates: bool | None = None) -> Training:
        """A run that succeeds at once."""
        passed = self.gates_pass if gates is None else gates
        version = ModelVersion(
            name=VersionName(""),
            digest=Digest("sha256:" + "0" * 64),
            run=request.run,
            bento_tag=f"{SYSTEM}:{request.run}",
            as_of=request.trigger.as_of,
            metrics={"rocAuc": 0.7},
        )
        against = request.champion or "nobody"

        def gate(is_passed: bool) -> GateOutcome:
            outcome = "passed" if is_passed else "missed"
            return GateOutcome("rocAuc", is_passed, f"rocAuc 0.7 against {against}: {outcome}")

        runners_up = tuple(
            RunnerUp(f"trees-{rank}", replace(version, rank=rank), (gate(is_passed),))
            for rank, is_passed in enumerate(self.runners_up, 1)
        )
        status = RunStatus(
            RunPhase.SUCCEEDED,
            version=version,
            gates=(gate(passed),),
            runners_up=runners_up,
            left_out=self.left_out,
        )
        return Training(status)

    def failed(self, request: TrainingRequest) -> Training:
        return Training(RunStatus(RunPhase.FAILED, message="check: distance has 3 values below 1"))

    def model(self, version: str) -> Model:
        return self.models.get(version, Model())

    def _pairs(
        self, champion: str, challenger: str, metric: str, since: datetime, as_of: datetime
    ) -> PairedEvidence:
        model = self.model(challenger)
        whole = int((as_of - since) / DAY)
        per_day = self.requests_per_day
        blocks = tuple(
            LossBlock(since + DAY * day, per_day, per_day * (model.gain + 0.002 * (-1) ** day), 1.0)
            for day in range(whole)
            if model.labels and per_day
        )
        pairs = int((as_of - since) / DAY * per_day)
        return PairedEvidence(
            blocks=blocks,
            paired_requests=pairs,
            labelled_pairs=sum(block.count for block in blocks),
            disagreement=0.1 if pairs else None,
            nonfinite_answers=model.nonfinite if pairs else 0,
        )

    def _by_arm(self, asked: Arms, since: datetime, as_of: datetime) -> ArmsEvidence:
        """One unit a request, in the shares that the gateway obeys; all units of an arm are alike but for noise."""
        closes = asked.window + (DELAY if asked.metric == "logLoss" else timedelta(0))
        days = []
        starts = asked.cuts or [since + day * DAY for day in range((as_of - since) // DAY + 1)]
        for start, end in zip(starts, [*starts[1:], as_of], strict=True):
            if start >= as_of:
                break
            if asked.by_shares:
                days += self._by_shares(asked, start, min(end, as_of), as_of, closes)
                continue
            shares, length = self._shares_at(start if asked.cuts else since), (min(end, as_of) - start) / DAY
            arms = {}
            for version in asked.versions:
                model, whole = self.model(version), self.requests_per_day * shares.get(version, 0.0)
                begun = int(whole * length)
                closed = int(whole * min(max((as_of - closes - start) / DAY, 0.0), length))
                known = closed if model.labels or asked.metric != "logLoss" else 0
                arms[version] = _sums(
                    begun, closed, known, *_outcome(asked.metric, model, version == asked.versions[0])
                )
            days.append(ArmDay(start, arms))
        bad = {version: self.model(version).nonfinite for version in asked.versions}
        return ArmsEvidence(tuple(days), nonfinite_answers=bad if days else {})

    def _by_shares(
        self, asked: Arms, start: datetime, end: datetime, as_of: datetime, closes: timedelta
    ) -> list[ArmDay]:
        """The units of a stretch, told apart by the shares that drew them: those that the router was told last."""
        told = sorted({start, *(at for at, _ in self.obeyed_since if start < at < end)})
        whole: dict[tuple[tuple[VersionName, int], ...], dict[VersionName, tuple[float, float]]] = {}
        for begin, over in zip(told, [*told[1:], end], strict=True):
            shares = self._shares_at(begin)
            drawn = tuple((version, round(100 * shares.get(version, 0.0))) for version in asked.versions)
            length = (over - begin) / DAY
            closed = min(max((as_of - closes - begin) / DAY, 0.0), length)
            known = whole.setdefault(drawn, dict.fromkeys(asked.versions, (0.0, 0.0)))
            for version, share in drawn:
                per_day = self.requests_per_day * share / 100
                begun, over_now = known[version]
                known[version] = (begun + per_day * length, over_now + per_day * closed)
        champion = asked.versions[0]
        return [
            ArmDay(
                start,
                {
                    version: _sums(
                        int(begun),
                        int(closed),
                        int(closed),
                        *_outcome(asked.metric, self.model(version), version == champion),
                    )
                    for version, (begun, closed) in arms.items()
                },
                dict(drawn),
            )
            for drawn, arms in sorted(whole.items())
        ]

    def _shares_at(self, moment: datetime) -> Mapping[str, float]:
        """The shares that the gateway obeyed then."""
        if self.obeyed is not None:
            return self.obeyed
        obeyed = [split for at, split in self.obeyed_since if at <= moment]
        split = obeyed[-1] if obeyed else self.traffic.read_back()
        return {str(arm.version): arm.weight / 100 for arm in split.arms} if split else {}

    def _operate(
        self, champion: str, challenger: str, since: datetime, now: datetime, shadow: bool
    ) -> OperationEvidence:
        total = int((now - since) / DAY * self.requests_per_day)
        split = self.traffic.read_back()
        weights = {str(arm.version): arm.weight / 100 for arm in split.arms} if split else {champion: 1.0}
        shares = self.obeyed if self.obeyed is not None and not shadow else weights
        got = {version: int(total * share) for version, share in shares.items()}
        asked = total if shadow else got.get(challenger, 0)
        return OperationEvidence(
            champion=self._counters(champion, got.get(champion, 0), Model()),
            challenger=self._counters(challenger, asked, self.model(challenger)),
            assigned={VersionName(version): count for version, count in got.items()},
        )

    def _query(self, promql: str, since: datetime, now: datetime, interval: timedelta) -> QueryEvidence:
        """A query in which `refunds` of a version are what its model says; measured as Prometheus does."""
        version = promql.removeprefix("refunds of ")
        assert version in self.serving.readiness(), promql
        ends = [since + interval * number for number in range(1, (now - since) // interval + 1)]
        value = self.model(version).refunds
        found = tuple(QueryMeasurement(at, value) for at in ends) if value is not None else ()
        return QueryEvidence(found, len(ends), ends[-1] if ends else None, int(value is not None))

    def _counters(self, version: str, requests: int, model: Model) -> VersionOperation:
        fast = requests if model.slowness <= 1.5 else 0
        buckets = {0.005: 0, 0.02: fast, 0.05: fast, 0.2: requests, float("inf"): requests}
        return VersionOperation(VersionName(version), requests, int(requests * model.error_rate), buckets)


def _outcome(metric: str, model: Model, is_champion: bool) -> tuple[float, float]:
    """Mean and standard deviation of a unit's outcome."""
    if metric == "logLoss":
        return 0.5 - (0.0 if is_champion else model.gain), 0.4
    share = 0.05 + (0.0 if is_champion else model.complaints)
    return share, (share * (1 - share)) ** 0.5


def _sums(assigned: int, closed: int, units: int, mean: float, deviation: float) -> ArmSums:
    """Of units that lie as far above the mean as below it."""
    return ArmSums(
        assigned=assigned,
        closed=closed,
        units=units,
        total=units * mean,
        squares=units * (mean**2 + deviation**2),
        cubes=units * (mean**3 + 3 * mean * deviation**2),
    )

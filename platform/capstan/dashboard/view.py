"""Looks at a running system for the page; a part that does not answer is shown as away and never stops the page."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

from capstan.dashboard.actions import actions_of
from capstan.dashboard.budgets import Budget
from capstan.dashboard.cards import Kept, card_of, data_report_of
from capstan.dashboard.listing import system_shown
from capstan.dashboard.observation import Observed, ObservedRollout, ObservedRun
from capstan.dashboard.online_panel import UserEvidence
from capstan.dashboard.page import (
    EventShown,
    LinkShown,
    Page,
    Part,
    Progress,
    SparklinePoint,
    SystemShown,
    Totals,
    VersionNumbers,
)
from capstan.dashboard.rollout_panel import shown_rule
from capstan.dashboard.snapshot import draw
from capstan.dashboard.story_lines import shown
from capstan.domain.comparison import PredictionComparison
from capstan.domain.online_steps import OnlineStep, online_steps
from capstan.domain.rollout import RolloutRequest, RolloutState
from capstan.domain.steps.questions import Arms, Interleaving
from capstan.domain.system import SystemPolicy
from capstan.domain.traffic import TrafficSplit
from capstan.domain.training import RunStatus
from capstan.domain.triggers import Alert, OperationAlert
from capstan.domain.verdicts.evidence import ArmsEvidence, PairedEvidence
from capstan.domain.verdicts.preference import PreferenceEvidence
from capstan.domain.verdicts.quality import OWN_LOSS
from capstan.domain.versions import ModelVersion, Readiness, RunName, SystemName, VersionName
from capstan.engine.policies import document_of, policy_of
from capstan.engine.records import (
    rollout_request,
    rollout_state,
    system_state,
    training_request,
    training_state,
)
from capstan.engine.standstill import Standstill, standstill_of
from capstan.errors import NotFoundError
from capstan.ports.clock import Clock
from capstan.ports.store import Event, Kind, Record, Store
from capstan.spec import MLSystem, parse

logger = logging.getLogger(__name__)
T = TypeVar("T")
HISTORY = 180
"""Number of samples in a sparkline."""
SAMPLE_SECONDS = 2.0
SLOW_SECONDS = 5.0
COMPARISON_SECONDS = 60.0
"""Least seconds between two questions to a source that reads files."""


class View(Protocol):
    """Data for the page's routes."""

    def snapshot(self) -> Page:
        """The whole page now."""
        ...

    def events(self, after: int) -> Sequence[EventShown]:
        """The story's lines with numbers above `after`, in order."""
        ...

    def shown(self) -> SystemShown:
        """Its line of a list, by the store alone."""
        ...

    def runs(self) -> Sequence[RunName]:
        """Names of its training runs."""
        ...

    def standstill(self) -> tuple[SystemName, Standstill]:
        """What keeps the loop from going on, by the store alone: cheap, whatever is away."""
        ...

    def card(self, version: VersionName) -> str:
        """The version's model card as HTML; raises NotFoundError, UnavailableError."""
        ...

    def data_report(self, version: VersionName) -> str:
        """The report of the data of the version's run as HTML; raises NotFoundError, UnavailableError."""
        ...


@dataclass(frozen=True)
class Sources:
    """Where the page asks besides the store; each may be missing (None) or raise, then its part is empty."""

    versions: Callable[[], Sequence[ModelVersion]] | None = None
    """The registry's versions, with metrics."""
    readiness: Callable[[], Mapping[VersionName, Readiness]] | None = None
    split: Callable[[], TrafficSplit | None] | None = None
    run: Callable[[RunName], RunStatus] | None = None
    """The pipelines' own status, with candidates."""
    alerts: Callable[[], Sequence[Alert]] | None = None
    operation_alerts: Callable[[], Sequence[OperationAlert]] | None = None
    evidence: Callable[[RolloutRequest, RolloutState, str], PairedEvidence | None] | None = None
    """By the metric of an analysis."""
    users: Callable[[OnlineStep, Arms | Interleaving], ArmsEvidence | PreferenceEvidence] | None = None
    """What users did during a step that asks them."""
    comparison: Callable[[RolloutRequest, RolloutState], PredictionComparison | None] | None = None
    windows: Callable[[], Sequence[Mapping[str, Any]]] | None = None
    """The monitor's `GET /windows`."""
    numbers: Callable[[], Sequence[VersionNumbers]] | None = None
    """`capstan.dashboard.numbers.PrometheusNumbers`."""
    budgets: Callable[[], Mapping[str, Budget]] | None = None
    """`capstan.dashboard.budgets.prometheus_budgets`."""
    totals: Callable[[], Totals] | None = None
    """The gateway's and the collector's counters."""
    parts: Callable[[], Sequence[Part]] | None = None
    """`capstan.dashboard.health.parts_of(processes.status())`."""
    progress: Callable[[], Progress | None] | None = None
    begin: Callable[[], None] | None = None
    """Called at the beginning of each look: asks parts that answer slowly, all at once and in the background."""
    links: Callable[[], Sequence[LinkShown]] | None = None
    """Pages of other programs, where their addresses are known."""
    run_links: Callable[[Sequence[ObservedRun]], Mapping[RunName, Sequence[LinkShown]]] | None = None
    """Those of each run."""
    card: Kept | None = None


@dataclass
class _Kept:
    value: Any
    at: float
    key: Any = None


@dataclass
class StoreView:
    """The View of one system: records and story from its store, the rest from `sources`."""

    store: Store
    system: SystemName
    clock: Clock
    is_replay: bool
    sources: Sources = field(default_factory=Sources)
    policy: Callable[[Record], SystemPolicy] = policy_of
    """That of the loop: rollouts of another one show no step that asks users."""
    namespace: str = ""
    """The system's in a cluster."""
    monotonic: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._history: deque[SparklinePoint] = deque(maxlen=HISTORY)
        self._sampled_at = float("-inf")
        self._kept: dict[str, _Kept] = {}
        self._final_runs: dict[RunName, RunStatus] = {}
        self._events: list[tuple[int, Event]] = []
        self._parsed: tuple[int, MLSystem, SystemPolicy] | None = None
        self._complained: set[tuple[str, str]] = set()

    def snapshot(self) -> Page:
        """Raises NotFoundError while the system is not in the store, and what the store itself raises."""
        with self._lock:
            return draw(self._look())

    def events(self, after: int) -> Sequence[EventShown]:
        return [shown(number, event) for number, event in self.store.events(self.system, after=after)]

    def shown(self) -> SystemShown:
        """Raises NotFoundError while the system is not in the store."""
        return system_shown(self.store, self._record(), self.namespace)

    def runs(self) -> Sequence[RunName]:
        return [RunName(record.name) for record in self.store.list(Kind.RUN, self.system)]

    def standstill(self) -> tuple[SystemName, Standstill]:
        """Raises NotFoundError while the system is not in the store."""
        state = system_state(self._record())
        rollout = self.store.get(Kind.ROLLOUT, state.rollout.name) if state.rollout is not None else None
        return self.system, standstill_of(state, rollout_state(rollout) if rollout is not None else None)

    def card(self, version: VersionName) -> str:
        kept, made = self._made(version)
        return card_of(kept, made, [event for _, event in self.store.events(self.system)])

    def data_report(self, version: VersionName) -> str:
        return data_report_of(*self._made(version))

    def _made(self, version: VersionName) -> tuple[Kept, ModelVersion]:
        known = () if self.sources.versions is None else self.sources.versions()
        made = next((one for one in known if one.name == version), None)
        if made is None or self.sources.card is None:
            raise NotFoundError(f"{self.system} has no version {str(version)[:40]!r}")
        return self.sources.card, made

    # -- looking

    def _record(self) -> Record:
        record = self.store.get(Kind.SYSTEM, self.system)
        if record is None:
            raise NotFoundError(f"no system {self.system!r}; `capstan up FILE` creates it")
        return record

    def _look(self) -> Observed:
        record = self._record()
        if self.sources.begin is not None:
            self.sources.begin()
        away: dict[str, str] = {}
        system, policy = self._file(record)
        numbers = self._ask(away, "Prometheus", self.sources.numbers)
        seen = Observed(
            record=record,
            system=system,
            policy=policy,
            state=system_state(record),
            now=self.clock.now(),
            is_replay=self.is_replay,
            runs=[self._run(away, record) for record in self.store.list(Kind.RUN, self.system)],
            rollouts=[
                ObservedRollout(rollout_request(record), rollout_state(record))
                for record in self.store.list(Kind.ROLLOUT, self.system)
            ],
            events=self._story(),
            versions=self._ask(away, "registry", self.sources.versions, slow=True),
            readiness=self._ask(away, "serving", self.sources.readiness),
            split=self._ask(away, "gateway", self.sources.split),
            alerts=self._ask(away, "Alertmanager", self.sources.alerts),
            operation_alerts=self._ask(away, "Alertmanager", self.sources.operation_alerts),
            windows=self._ask(away, "monitor", self.sources.windows, slow=True),
            numbers=numbers,
            history=self._sample(numbers),
            budgets=self._budgets(away, system),
            totals=self._ask(away, "counters", self.sources.totals),
            parts=self._ask(away, "processes", self.sources.parts) or (),
            progress=self._ask(away, "progress", self.sources.progress),
            links=self._ask(away, "links", self.sources.links) or (),
        )
        ask = self.sources.run_links
        if ask is not None:
            seen = replace(seen, run_links=self._ask(away, "links", lambda: ask(seen.runs)) or {})
        names = [version.name for version in seen.versions or ()]
        active = seen.active_rollout
        rollout = active.state if active is not None else None
        seen = replace(seen, actions=actions_of(record, seen.state, rollout, names))
        seen = replace(seen, evidence=self._evidence(away, seen), online=self._online(away, seen))
        return replace(seen, comparison=self._comparison(away, seen), away=away)

    def _file(self, record: Record) -> tuple[MLSystem, SystemPolicy]:
        if self._parsed is None or self._parsed[0] != record.generation:
            system = parse(document_of(record), base_dir=Path())
            self._parsed = (record.generation, system, self.policy(record))
        return self._parsed[1:]

    def _budgets(self, away: dict[str, str], system: MLSystem) -> Mapping[str, Budget] | None:
        """None: the file promises nothing, or nobody can say."""
        if not system.spec.monitoring.slos:
            return None
        return self._ask(away, "budgets", self.sources.budgets, slow=True)

    def _story(self) -> Sequence[tuple[int, Event]]:
        last = self._events[-1][0] if self._events else 0
        self._events.extend(self.store.events(self.system, after=last))
        return list(self._events)

    def _run(self, away: dict[str, str], record: Record) -> ObservedRun:
        request, state = training_request(record), training_state(record)
        status = self._final_runs.get(request.run)
        ask = self.sources.run
        if status is None and ask is not None:
            status = self._ask(away, "pipelines", lambda: ask(request.run))
            if status is not None and state.is_final:
                self._final_runs[request.run] = status
        return ObservedRun(request, state, status)

    def _evidence(self, away: dict[str, str], seen: Observed) -> PairedEvidence | None:
        rollout, ask = seen.active_rollout, self.sources.evidence
        if (
            rollout is None
            or ask is None
            or rollout.request.champion is None
            or rollout.state.step_since is None
        ):
            return None
        request, state = rollout.request, rollout.state
        key = (request.name, state.step, seen.now)
        rule = shown_rule(seen, rollout)
        metric = rule.metric if rule is not None else OWN_LOSS
        return self._ask(away, "evidence", lambda: ask(request, state, metric), slow=True, key=key)

    def _online(self, away: dict[str, str], seen: Observed) -> list[tuple[OnlineStep, UserEvidence]]:
        rollout = seen.foremost
        if rollout is None:
            return []
        steps = online_steps(rollout.request, rollout.state, seen.policy.rollout, now=seen.now)
        last = {step.step.name: step for step in steps}
        return [(step, self._users(away, rollout.request, step)) for step in last.values()]

    def _users(self, away: dict[str, str], request: RolloutRequest, step: OnlineStep) -> UserEvidence:
        """Evidence that decides is asked for more often than that which is told besides."""
        ask = self.sources.users
        if ask is None:
            return {}
        found, begun = {}, (request.name, step.number, step.since)
        for place, need in enumerate(step.needs):
            part = f"evidence of {step.step.name} {place}"
            kept = self._kept.get(part)
            # What a step found in the end is shown at once, beside its verdicts.
            may_wait = step.is_running and kept is not None and kept.key[0] == begun
            answer = self._ask(
                away,
                part,
                lambda need=need: ask(step, need),  # type: ignore[misc]
                slow=True,
                key=(begun, step.until, need),
                seconds=0.0 if not may_wait else COMPARISON_SECONDS if place else SLOW_SECONDS,
            )
            if answer is not None:
                found[need] = answer
        return found

    def _comparison(self, away: dict[str, str], seen: Observed) -> PredictionComparison | None:
        """Of a step that has pairs; it reads them all, so it is asked for rarely."""
        rollout, ask = seen.active_rollout, self.sources.comparison
        if rollout is None or ask is None or seen.evidence is None or not seen.evidence.paired_requests:
            return None
        request, state = rollout.request, rollout.state
        step, now = (request.name, state.step), seen.now
        kept = self._kept.get("comparison")
        seconds = COMPARISON_SECONDS if kept is not None and kept.key[0] == step else 0.0
        return self._ask(
            away, "comparison", lambda: ask(request, state), slow=True, key=(step, now), seconds=seconds
        )

    def _sample(self, numbers: Sequence[VersionNumbers] | None) -> Sequence[SparklinePoint]:
        """The last minutes; no requests are a sample too, and only while nobody can say is there none."""
        now = datetime.now(UTC)
        while self._history and now - self._history[0].at > HISTORY * timedelta(seconds=SAMPLE_SECONDS):
            self._history.popleft()
        if numbers is not None and self.monotonic() - self._sampled_at >= SAMPLE_SECONDS:
            self._sampled_at = self.monotonic()
            users = [n for n in numbers if n.role != "shadow"]
            requests = {n.version: round(n.requests_per_second, 3) for n in users}
            p99 = {n.version: n.p99_seconds for n in numbers if n.p99_seconds is not None}
            self._history.append(SparklinePoint(now, requests, p99))
        return list(self._history)

    def _ask(
        self,
        away: dict[str, str],
        part: str,
        source: Callable[[], T] | None,
        *,
        slow: bool = False,
        key: object = None,
        seconds: float = SLOW_SECONDS,
    ) -> T | None:
        """Answer of the source; None if it fails for any reason, since a broken part must not break the page."""
        if source is None:
            return None
        kept = self._kept.get(part)
        if slow and kept is not None:
            unchanged = key is not None and kept.key == key
            if unchanged or self.monotonic() - kept.at < seconds:
                value: T = kept.value
                return value
        try:
            answer = source()
        except Exception as error:
            reason = str(error) or type(error).__name__
            if (part, type(error).__name__) not in self._complained:
                self._complained.add((part, type(error).__name__))
                logger.warning("the page cannot ask %s: %s", part, reason)
            away[part] = reason[:300]
            return None
        if slow:
            self._kept[part] = _Kept(answer, self.monotonic(), key)
        return answer

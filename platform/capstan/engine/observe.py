"""Looks at the world once per pass; a part that does not answer is `Away`, never an exception."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar, assert_never

from capstan.domain.batch_calendar import BatchOrder, BatchStatus
from capstan.domain.planners.looks import questions_of
from capstan.domain.rollout import RolloutPhase, RolloutPolicy, RolloutRequest, RolloutState, contender
from capstan.domain.steps.experiment import ExperimentStep
from capstan.domain.steps.questions import (
    Arms,
    Evidence,
    Interleaving,
    Need,
    Operation,
    OwnQuery,
    Pairs,
    StepEvidence,
)
from capstan.domain.system import Surroundings
from capstan.domain.training import RunPhase, RunStatus
from capstan.domain.triggers import Alert, NewLabels, OperationAlert, Webhooks
from capstan.domain.trouble import Away, Trouble
from capstan.domain.verdicts.evidence import ArmsEvidence, OperationEvidence
from capstan.domain.verdicts.own_queries import with_names
from capstan.domain.verdicts.preference import PreferenceEvidence
from capstan.domain.verdicts.unit_history import HISTORY, read_units
from capstan.domain.versions import ModelVersion, RunName, VersionName
from capstan.domain.watching import Standing
from capstan.errors import UnavailableError
from capstan.ports.batches import BatchRuns
from capstan.ports.measurements import AlertSource, EvidenceSource, Monitoring, OperationMetrics
from capstan.ports.pipelines import Pipelines
from capstan.ports.registry import Registry
from capstan.ports.serving import Serving
from capstan.ports.traffic import TrafficProvider

T = TypeVar("T")

ALIASES_STALE_AFTER = timedelta(seconds=30)
"""Wall time after which the registry's aliases are read again, while no rollout moves them."""


def ask_users(
    source: EvidenceSource,
    need: Arms | Interleaving,
    champion: VersionName,
    challenger: VersionName,
    *,
    since: datetime,
    now: datetime,
) -> ArmsEvidence | PreferenceEvidence:
    """What users did since the moment, as a look at `now` knows it; raises UnavailableError."""
    if isinstance(need, Interleaving):
        return source.interleaved(champion, challenger, need, since=since, as_of=now)
    as_of = now if need.every is None else since + (now - since) // need.every * need.every
    return source.arms(need, since=since, as_of=as_of)


@dataclass
class Observer:
    """The ports that are only read."""

    pipelines: Pipelines
    registry: Registry
    serving: Serving
    traffic: TrafficProvider
    evidence: EvidenceSource
    metrics: OperationMetrics
    alerts: AlertSource
    monitoring: Monitoring
    troubles: Callable[[], Sequence[Trouble]]
    batches: BatchRuns | None = None
    """None: nobody makes batches here."""
    away: dict[str, Away] = field(default_factory=dict)
    """Parts that did not answer in this pass, with the reason."""
    answered: set[str] = field(default_factory=set)
    """Parts that answered in this pass."""
    _aliases: Mapping[str, VersionName] | None = None
    _aliases_at: datetime | None = None
    _labels: NewLabels | None = None

    def surroundings(self, wall: datetime, *, fresh_aliases: bool) -> Surroundings:
        self.away, self.answered = {}, set()
        return Surroundings(
            readiness=self._ask("serving", self.serving.readiness),
            split=self._ask("gateway", self.traffic.read_back),
            aliases=self._look_at_aliases(wall, fresh_aliases),
        )

    def _look_at_aliases(self, wall: datetime, fresh: bool) -> Mapping[str, VersionName] | Away:
        stale = self._aliases_at is None or not timedelta(0) <= wall - self._aliases_at < ALIASES_STALE_AFTER
        if self._aliases is not None and not fresh and not stale:
            return self._aliases
        seen = self._ask("registry", self.registry.aliases)
        self._aliases = None if isinstance(seen, Away) else dict(seen)
        self._aliases_at = wall
        return seen

    def run(self, run: RunName) -> tuple[RunStatus | Away, ModelVersion | Away | None]:
        """Where the run stands, and what the registry holds for it where the pipelines name no version."""
        status = self._ask("pipelines", lambda: self.pipelines.status(run))
        if isinstance(status, RunStatus) and status.phase is RunPhase.SUCCEEDED and status.version is None:
            return status, self._ask("registry", lambda: self.registry.version_of(run))
        return status, None

    def standing(self) -> Standing | Away:
        """What the monitor could judge. No decision waits for it, so only a condition tells its outage."""
        try:
            return self.monitoring.standing()
        except UnavailableError as error:
            return Away("monitor", error.reason)

    def operation_alerts(self) -> tuple[OperationAlert, ...] | Away:
        """Alerts about parts, for people. `firing` asks the same source, so its outage is told there."""
        try:
            return tuple(self.alerts.operation())
        except UnavailableError as error:
            return Away("alertmanager", error.reason)

    def firing(self) -> tuple[Alert, ...] | Away:
        seen = self._ask("alertmanager", self.alerts.active)
        return seen if isinstance(seen, Away) else tuple(seen)

    def new_labels(self, since: datetime | None, now: datetime) -> NewLabels | Away | None:
        """Since the last training, counted anew each minute; None: since when is not known."""
        until = now.replace(second=0, microsecond=0)
        if since is None or until <= since:
            return None
        known = self._labels
        if known is None or (known.since, known.until) != (since, until):
            count = self._ask("collector", lambda: self.evidence.labelled(since=since, as_of=until))
            if isinstance(count, Away):
                return count
            known = self._labels = NewLabels(count, since, until)
        return known

    def batch(self, begun: BatchOrder | None) -> BatchStatus | Away | None:
        """Where the batch that was begun stands; None: nobody makes batches here."""
        runs = self.batches
        if runs is None:
            return None
        if begun is None:
            return BatchStatus(RunPhase.ABSENT)
        return self._ask("batches", lambda: runs.status(begun))

    def webhooks(self) -> Webhooks | Away:
        return self._ask("collector", self.evidence.webhooks)

    def in_trouble(self) -> tuple[Trouble, ...] | Away:
        """Parts that cannot start or go on by themselves."""
        try:
            return tuple(self.troubles())
        except UnavailableError as error:
            # The source of troubles is no part of the system: its outage is told here and not among the parts'.
            return Away(error.part, error.reason)

    def versions(self, names: list[VersionName]) -> dict[VersionName, ModelVersion]:
        found: dict[VersionName, ModelVersion] = {}
        for name in names:
            version = self._ask("registry", lambda name=name: self.registry.version(name))  # type: ignore[misc]
            if isinstance(version, ModelVersion):
                found[name] = version
        return found

    def measure(
        self,
        request: RolloutRequest,
        state: RolloutState,
        policy: RolloutPolicy,
        now: datetime,
        wall: datetime,
    ) -> StepEvidence | None:
        """Evidence for the step if a look is due; None if not."""
        if state.phase is not RolloutPhase.PROGRESSING or state.step_since is None:
            return None
        if state.policy_digest != policy.digest or state.step >= len(policy.steps):
            return None
        if state.looked_at is not None and now - state.looked_at < policy.look_interval:
            return None
        if request.champion is None:
            return StepEvidence()
        needs = dict.fromkeys(question.need for question in questions_of(request, state, policy))
        return StepEvidence({need: self._measured(need, request, state, now, wall) for need in needs})

    def forecasts(
        self, request: RolloutRequest, state: RolloutState, policy: RolloutPolicy, now: datetime
    ) -> tuple[str, ...]:
        """How long experiments take with the champion's units as they were; empty once the rollout has begun."""
        if state.started_at is not None or request.champion is None:
            return ()
        champion, told = request.champion.name, []
        for index, step in enumerate(policy.steps, 1):
            if not isinstance(step, ExperimentStep):
                continue
            need = step.history_need(champion)
            try:
                found = self.evidence.arms(need, since=now - HISTORY, as_of=now)
            except UnavailableError:
                # A forecast is a courtesy: nothing waits for it.
                continue
            history = read_units(found, champion)
            if history is not None:
                told.append(f"step {index}: {step.forecast(history).message}")
        return tuple(told)

    def _measured(
        self, need: Need, request: RolloutRequest, state: RolloutState, now: datetime, wall: datetime
    ) -> Evidence | Away:
        assert request.champion is not None
        assert state.step_since is not None
        champion, since = request.champion.name, state.step_since
        challenger = contender(request, state).name
        match need:
            case Operation(mirrored, version, baseline):
                since_wall = state.step_since_wall or wall

                def operation(name: VersionName) -> OperationEvidence:
                    return self.metrics.operation(
                        champion, name, since_wall=since_wall, now_wall=wall, shadow=mirrored
                    )

                def both() -> OperationEvidence:
                    found = operation(version or challenger)
                    return replace(found, champion=operation(baseline).challenger) if baseline else found

                return self._ask("prometheus", both)
            case Pairs(metric):
                return self._ask(
                    "collector",
                    lambda: self.evidence.paired(champion, challenger, metric=metric, since=since, as_of=now),
                )
            case Interleaving() | Arms():
                return self._ask(
                    "collector",
                    lambda: ask_users(self.evidence, need, champion, challenger, since=since, now=now),
                )
            case OwnQuery(promql, interval):
                query = with_names(promql, champion=champion, challenger=challenger, system=request.system)
                since_wall = state.step_since_wall or wall
                return self._ask(
                    "prometheus",
                    lambda: self.metrics.own_query(
                        query, since_wall=since_wall, now_wall=wall, interval=interval
                    ),
                )
            case _:
                assert_never(need)

    def _ask(self, part: str, question: Callable[[], T]) -> T | Away:
        try:
            answer = question()
        except UnavailableError as error:
            # A part is named by its port's role and not by its vendor, so that an outage and its end are one story.
            away = Away(part, error.reason)
            self.away[part] = away
            return away
        self.answered.add(part)
        return answer

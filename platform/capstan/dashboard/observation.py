"""Everything that one look at a running system found, before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from capstan.dashboard.budgets import Budget
from capstan.dashboard.online_panel import UserEvidence
from capstan.dashboard.page import (
    ActionShown,
    LinkShown,
    Part,
    Progress,
    SparklinePoint,
    Totals,
    VersionNumbers,
)
from capstan.domain.comparison import PredictionComparison
from capstan.domain.online_steps import OnlineStep
from capstan.domain.rollout import RolloutCause, RolloutRequest, RolloutState
from capstan.domain.system import SystemPolicy, SystemState, TrainingState
from capstan.domain.traffic import TrafficSplit
from capstan.domain.training import RunStatus, TrainingRequest
from capstan.domain.triggers import Alert, OperationAlert
from capstan.domain.verdicts.evidence import PairedEvidence
from capstan.domain.versions import ModelVersion, Readiness, RunName, VersionName
from capstan.ports.store import Event, Record
from capstan.spec import MLSystem


@dataclass(frozen=True)
class ObservedRun:
    """A training run: what was asked, where the loop has it, and what the pipelines know of it."""

    request: TrainingRequest
    state: TrainingState
    status: RunStatus | None
    """Status with candidates and metrics, which the record leaves out; None: the pipelines do not know it."""


@dataclass(frozen=True)
class ObservedRollout:
    request: RolloutRequest
    state: RolloutState


@dataclass(frozen=True)
class Observed:
    """One look. None where a source is away or was not given; `away` says why."""

    record: Record
    system: MLSystem
    policy: SystemPolicy
    state: SystemState
    now: datetime
    is_replay: bool
    runs: Sequence[ObservedRun] = ()
    rollouts: Sequence[ObservedRollout] = ()
    events: Sequence[tuple[int, Event]] = ()
    versions: Sequence[ModelVersion] | None = None
    readiness: Mapping[VersionName, Readiness] | None = None
    split: TrafficSplit | None = None
    alerts: Sequence[Alert] | None = None
    operation_alerts: Sequence[OperationAlert] | None = None
    evidence: PairedEvidence | None = None
    """Evidence of the rollout in progress."""
    online: Sequence[tuple[OnlineStep, UserEvidence]] = ()
    """Of the foremost rollout the last step of each kind that asks users, with what is known of it."""
    comparison: PredictionComparison | None = None
    """Predictions of the shadow step in progress, with labels or without."""
    windows: Sequence[Mapping[str, Any]] | None = None
    numbers: Sequence[VersionNumbers] | None = None
    budgets: Mapping[str, Budget] | None = None
    """By the name of the promise."""
    history: Sequence[SparklinePoint] = ()
    totals: Totals | None = None
    parts: Sequence[Part] = ()
    progress: Progress | None = None
    actions: Sequence[ActionShown] = ()
    links: Sequence[LinkShown] = ()
    run_links: Mapping[RunName, Sequence[LinkShown]] = field(default_factory=dict)
    away: Mapping[str, str] = field(default_factory=dict)

    @property
    def active_rollout(self) -> ObservedRollout | None:
        """The rollout in progress."""
        name = self.state.rollout.name if self.state.rollout else None
        return next((rollout for rollout in self.rollouts if rollout.request.name == name), None)

    @property
    def foremost(self) -> ObservedRollout | None:
        """The rollout in progress, else the last one of a challenger."""
        contests = [one for one in self.rollouts if one.request.cause is RolloutCause.CHALLENGER]
        begun = [one for one in contests if one.state.started_at is not None]
        last = max(begun, key=lambda one: one.state.started_at or self.now, default=None)
        return self.active_rollout or last

    @property
    def active_run(self) -> ObservedRun | None:
        """The training run in progress."""
        name: RunName | None = self.state.run.run if self.state.run else None
        return next((run for run in self.runs if run.request.run == name), None)

"""Where a whole system stands: its champion, its work in progress, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from capstan.domain.actions import Command, Verb
from capstan.domain.batch_calendar import BatchState, BatchStatus
from capstan.domain.retraining import RetrainingPolicy, RetrainingState
from capstan.domain.rollout import (
    RolloutCause,
    RolloutPhase,
    RolloutPolicy,
    RolloutRequest,
    RolloutState,
    arms_of,
    contender,
    copy_of,
)
from capstan.domain.traffic import TrafficSplit, champion_only
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.triggers import Alert, HeardCall, NewLabels, Webhooks
from capstan.domain.triggers.schedule import ScheduleTrigger
from capstan.domain.trouble import Away, Trouble
from capstan.domain.versions import ModelVersion, Readiness, SystemName, VersionName


@dataclass(frozen=True)
class SystemPolicy:
    """What the file says, as far as the loop goes by it."""

    rollout: RolloutPolicy
    retraining: RetrainingPolicy
    seed: int = 0
    suspend: bool = False
    delete_aliases: bool = False
    """`deletionPolicy: Delete`: the registry forgets who was champion."""
    batches: ScheduleTrigger | None = None
    """When batches of predictions are due; None: the file asks for none."""


@dataclass(frozen=True)
class TrainingState:
    """Status of a TrainingRun record."""

    phase: RunPhase = RunPhase.ABSENT
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: RunStatus | None = None
    """The last status that the pipelines told."""
    cancelled: bool = False
    """A person or a deletion has asked for its end."""

    @property
    def is_final(self) -> bool:
        return self.phase in (RunPhase.SUCCEEDED, RunPhase.FAILED, RunPhase.CANCELLED)


@dataclass(frozen=True)
class SystemState:
    """Status of an MLSystem record; together with its active run and rollout it is the whole truth."""

    champion: ModelVersion | None = None
    champion_since: datetime | None = None
    previous: tuple[ModelVersion, ...] = ()
    """Former champions, the last one first; the first is kept warm for an instant undo."""
    run: TrainingRequest | None = None
    """The active or last unfinished training run."""
    rollout: RolloutRequest | None = None
    rollouts: int = 0
    """How many were ever started; part of their names."""
    retraining: RetrainingState = field(default_factory=RetrainingState)
    paused: bool = False
    commands: tuple[Command, ...] = ()
    """Written by people, not yet followed."""
    command_count: int = 0
    cancel_run: bool = False
    deleting: bool = False
    """Deletion was seen and told."""
    split_corrections: int = 0
    """How often traffic was found changed with no rollout in progress."""
    split_settled: bool = False
    """The champion's own split was once read back since the last rollout."""
    firing: Mapping[str, datetime] = field(default_factory=dict)
    """Alerts about the champion that fire now, by fingerprint, with the as_of at which they were first seen."""
    away: Mapping[str, int] = field(default_factory=dict)
    """Parts that do not answer now, with the number of the outage."""
    outages: int = 0
    met: tuple[str, ...] = ()
    """Parts that have answered at least once: only these can be missed at once."""
    troubles: Mapping[str, str] = field(default_factory=dict)
    """Parts that cannot start or go on now, with the reason that was told."""
    troubles_told: int = 0
    batch: BatchState = field(default_factory=BatchState)
    """How far batches by the calendar are."""
    incarnation: str = ""
    """When this system began; tells it from a deleted one of the same name."""
    calls: Mapping[str, HeardCall] = field(default_factory=dict)
    """The newest webhook call of each sender."""
    heard: int = 0
    """Number of the newest webhook call that was heard."""

    def born(self, incarnation: str, *, heard: int = 0) -> SystemState:
        """heard: calls up to this number were meant for a deleted system of the same name."""
        return replace(self, incarnation=incarnation, heard=heard)

    @property
    def will_be_paused(self) -> bool:
        """Paused, once the commands that wait are followed: a pause counts from the moment it was written."""
        paused = self.paused
        for command in self.commands:
            if not command.target and command.verb in (Verb.PAUSE, Verb.RESUME):
                paused = command.verb is Verb.PAUSE
        return paused

    @property
    def trained_to(self) -> datetime | None:
        """Up to when the last training read data, or the champion's where none has begun; None: there is neither."""
        return self.retraining.as_of or (self.champion.as_of if self.champion is not None else None)

    @property
    def warm(self) -> ModelVersion | None:
        return self.previous[0] if self.previous else None


@dataclass(frozen=True)
class Surroundings:
    """What was seen outside the store in one look; `Away` where a part did not answer."""

    readiness: Mapping[VersionName, Readiness] | Away
    split: TrafficSplit | Away | None
    aliases: Mapping[str, VersionName] | Away

    def is_ready(self, version: VersionName) -> bool:
        return not isinstance(self.readiness, Away) and self.readiness.get(version) is Readiness.READY


@dataclass(frozen=True)
class SystemObservation:
    """All that `plan_system` looks at besides its own state."""

    name: SystemName
    surroundings: Surroundings
    alerts: tuple[Alert, ...] | Away = ()
    """All that fire now."""
    run: TrainingState | None = None
    """Of the active run; None: its record does not exist yet."""
    rollout: RolloutState | None = None
    deletion_asked: bool = False
    away: tuple[Away, ...] = ()
    """Every part that did not answer in this look."""
    answered: frozenset[str] = frozenset()
    """Every part that did."""
    troubles: tuple[Trouble, ...] | Away = ()
    """Of all parts that cannot start or go on by themselves."""
    watched: tuple[VersionName, datetime] | None = None
    """What the monitor was last told to watch; None: not told since the loop began."""
    versions: Mapping[VersionName, ModelVersion] = field(default_factory=dict)
    """Those that commands name, as the registry knows them."""
    handled: tuple[str, ...] = ()
    """Ids of commands that the active rollout has followed."""
    generation: int = 0
    """Of the file; another one after each change of it."""
    obstacle: str = ""
    """What a training would lack, in words; none starts meanwhile. Empty: nothing."""
    new_labels: NewLabels | Away | None = None
    """Since the last training; None: no rule of the file asks for them."""
    batch: BatchStatus | Away | None = None
    """Of the batch that was begun, absent where none was; None: nobody makes batches here, as in a replay."""
    webhooks: Webhooks | Away = field(default_factory=Webhooks)
    """Nothing where no rule of the file asks for them."""


def wanted_aliases(
    state: SystemState, rollout: RolloutState | None, split: TrafficSplit | Away | None
) -> dict[str, VersionName | None]:
    """Both aliases as they follow from the records; the champion's moves only after the traffic has."""
    champion = state.champion.name if state.champion else None
    challenger: VersionName | None = None
    request = state.rollout
    if request is not None and rollout is not None:
        moved = rollout.phase is RolloutPhase.PROMOTED or (
            rollout.phase is RolloutPhase.PROMOTING
            and split == champion_only(contender(request, rollout).name)
        )
        if moved:
            champion = contender(request, rollout).name
        elif request.cause is RolloutCause.CHALLENGER and rollout.phase in (
            RolloutPhase.DEPLOYING,
            RolloutPhase.PROGRESSING,
            RolloutPhase.PROMOTING,
        ):
            challenger = contender(request, rollout).name
    return {"champion": champion, "challenger": challenger}


def needed_versions(
    state: SystemState, rollout: RolloutState | None, policy: RolloutPolicy
) -> dict[VersionName, ModelVersion]:
    """Versions that must run: the champion, the warm former one, and the arms of an active rollout's step."""
    needed = [version for version in (state.champion, state.warm) if version is not None]
    if state.rollout is not None and rollout is None:
        needed.append(state.rollout.challenger)
    elif (
        state.rollout is not None
        and rollout is not None
        and rollout.phase not in (RolloutPhase.ROLLED_BACK, RolloutPhase.ROLLING_BACK)
    ):
        steps = policy.of(state.rollout).steps
        needed += [contender(state.rollout, rollout), *arms_of(state.rollout, rollout, steps)]
        copy = copy_of(state.rollout, rollout, steps)
        needed += [copy] if copy is not None else []
    return {version.name: version for version in needed}


def without_metrics(version: ModelVersion) -> ModelVersion:
    """The version as it is stored in a status, which holds no floats: metrics stay in the registry."""
    return replace(version, metrics={})


def as_stored(status: RunStatus) -> RunStatus:
    """The status of a run as the loop keeps it: metrics stay in the registry and in the run's folder."""
    return replace(
        status,
        version=without_metrics(status.version) if status.version else None,
        candidates={},
        details={},
        runners_up=tuple(replace(one, version=without_metrics(one.version)) for one in status.runners_up),
    )

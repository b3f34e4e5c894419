"""What a planner may ask for: effects as data, and the plan that carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

from capstan.domain.batch_calendar import BatchOrder
from capstan.domain.rollout import RolloutRequest
from capstan.domain.traffic import TrafficSplit
from capstan.domain.training import TrainingRequest
from capstan.domain.versions import ModelVersion, RunName, VersionName

S = TypeVar("S")


@dataclass(frozen=True)
class CreateRun:
    """Store the record of a training run."""

    request: TrainingRequest


@dataclass(frozen=True)
class StartTraining:
    """Hand the run to the pipelines."""

    request: TrainingRequest


@dataclass(frozen=True)
class CancelTraining:
    run: RunName


@dataclass(frozen=True)
class CreateRollout:
    """Store the record of a rollout."""

    request: RolloutRequest


@dataclass(frozen=True)
class DeployVersion:
    """Bring the version up; readiness is observed later."""

    version: ModelVersion


@dataclass(frozen=True)
class RetireVersion:
    """Stop a version that gets no request and no mirror any more."""

    version: VersionName


@dataclass(frozen=True)
class SetTraffic:
    """Make the gateway obey the split; every version in it is ready."""

    split: TrafficSplit


@dataclass(frozen=True)
class SetAlias:
    """Project one alias of the registry from the records; None removes it."""

    alias: str
    version: VersionName | None


@dataclass(frozen=True)
class WatchVersion:
    """Let the monitor watch this version from `since` (event time) on."""

    version: VersionName
    since: datetime


@dataclass(frozen=True)
class StartBatch:
    """Let the rows be predicted and written."""

    order: BatchOrder


@dataclass(frozen=True)
class StopBatch:
    """End a try that nobody wants any more."""

    order: BatchOrder


@dataclass(frozen=True)
class DeleteRecords:
    """Remove all records of the system: the last act of a deletion."""


Action: TypeAlias = (
    CreateRun
    | StartTraining
    | CancelTraining
    | CreateRollout
    | DeployVersion
    | RetireVersion
    | SetTraffic
    | SetAlias
    | WatchVersion
    | StartBatch
    | StopBatch
    | DeleteRecords
)


class Waiting(StrEnum):
    """What the loop waits for when it has nothing to do, the most urgent first."""

    DEPLOYMENT = "Deployment"
    TRAINING = "Training"
    APPROVAL = "Approval"
    EVIDENCE = "Evidence"
    """More requests, labels or closed blocks, or a part that does not answer now."""
    TIME = "Time"
    """The system's clock: a step's duration, a cooldown, a backoff."""
    NOTHING = "Nothing"


def most_urgent(*waits: Waiting) -> Waiting:
    """Of several things waited for, the one that holds up the others."""
    order = list(Waiting)
    return min(waits, key=order.index, default=Waiting.NOTHING)


@dataclass(frozen=True)
class Decision:
    """One line of the story: which fact, why, and the ids of both ends of the arrow."""

    reason: str
    message: str
    key: str
    """Names the fact within its object: a second decision with the same key is the same one and is told once."""
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan(Generic[S]):
    """What to do next. The status is stored before any action is taken, so a crash never loses a decision."""

    status: S
    actions: tuple[Action, ...] = ()
    decisions: tuple[Decision, ...] = ()
    waiting: Waiting = Waiting.NOTHING
    message: str = ""
    """What is waited for, in words."""
    requeue_after: timedelta | None = None
    """On the system's clock; None: nothing will change by time alone."""


class Verb(StrEnum):
    """What a person may ask for."""

    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    ROLLBACK = "rollback"
    RETRAIN = "retrain"
    APPROVE = "approve"
    PROMOTE = "promote"


@dataclass(frozen=True)
class Command:
    """A person's wish, checked when it was written and kept in the record of the system until it is done."""

    id: str
    verb: Verb
    target: str = ""
    """Name of the rollout or run it is meant for; empty: the system. A command whose target is over does nothing."""
    version: VersionName | None = None
    at: datetime | None = None
    note: str = ""
    by: str = ""
    """Who asked, as the machine or the cluster knows them; empty: it is not known."""

    def told(self, what: str) -> str:
        """`ann asked for it: holiday traffic`, as the story says who did what, and why."""
        return f"{self.by or 'a person'} {what}{self._reason}"

    def signed(self, text: str) -> str:
        """The text with who asked for it, and why."""
        signature = f"{self.by}{self._reason}" if self.by else self.note
        return f"{text} ({signature})" if signature else text

    @property
    def _reason(self) -> str:
        return f": {self.note}" if self.note else ""

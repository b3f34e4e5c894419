"""Why a line of the story was written: every reason, with what page, console and Kubernetes Events make of it.

An alert's line has the alert's own name as its reason; its facts are `ALERT`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """How a thing is doing, in the five colours of the page."""

    IDLE = "idle"
    ACTIVE = "active"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


class Group(StrEnum):
    """What a line is about, as the story's filter calls it."""

    ALERT = "alert"
    COMMAND = "command"
    OPERATION = "operation"
    ROLLOUT = "rollout"
    TRAINING = "training"


@dataclass(frozen=True)
class ReasonFacts:
    """What readers of the story make of a line."""

    group: Group
    tone: Tone = Tone.IDLE
    is_warning: bool = False
    """Whether Kubernetes shows it as a Warning, which a person should look at."""
    is_decision: bool = True
    """Whether the report lists it among the decisions."""


ALERT = ReasonFacts(Group.ALERT, Tone.WARN, is_warning=True)
"""Facts of a line that tells that an alert began to fire."""

_COMMAND = ReasonFacts(Group.COMMAND)
_APPROVAL = ReasonFacts(Group.COMMAND, Tone.GOOD)
_STEP = ReasonFacts(Group.ROLLOUT)
_PROGRESS = ReasonFacts(Group.ROLLOUT, is_decision=False)
_SUCCESS = ReasonFacts(Group.ROLLOUT, Tone.GOOD)
_WAIT = ReasonFacts(Group.ROLLOUT, Tone.WARN, is_warning=True)
_ROLLBACK = ReasonFacts(Group.ROLLOUT, Tone.BAD)
_FAILURE = ReasonFacts(Group.ROLLOUT, Tone.BAD, is_warning=True)
_RUN = ReasonFacts(Group.TRAINING)
_DELAY = ReasonFacts(Group.TRAINING, Tone.WARN)
_OPERATION = ReasonFacts(Group.OPERATION)
_WARNING = ReasonFacts(Group.OPERATION, is_warning=True)


class Reason(StrEnum):
    """Every reason that Capstan itself writes; its text is what is stored and shown."""

    facts: ReasonFacts

    def __new__(cls, text: str, facts: ReasonFacts) -> Reason:
        reason = str.__new__(cls, text)
        reason._value_ = text
        reason.facts = facts
        return reason

    # Commands of a person
    PAUSED = "Paused", _COMMAND
    RESUMED = "Resumed", _COMMAND
    APPROVED = "Approved", _APPROVAL
    STEP_APPROVED = "StepApproved", _APPROVAL
    RETRAINING_REQUESTED = "RetrainingRequested", _COMMAND
    CANCEL_REQUESTED = "CancelRequested", _COMMAND
    COMMAND_IGNORED = "CommandIgnored", _COMMAND
    ABORTED = "Aborted", ReasonFacts(Group.COMMAND, Tone.BAD)
    FORGOTTEN = "Forgotten", ReasonFacts(Group.COMMAND, is_decision=False)

    # Training
    WEBHOOK_CALLED = "WebhookCalled", ReasonFacts(Group.TRAINING, is_decision=False)
    TRAINING_REQUESTED = "TrainingRequested", _RUN
    TRAINING_STARTED = "TrainingStarted", _RUN
    TRAINING_WAITS = "TrainingWaits", ReasonFacts(Group.TRAINING, Tone.WARN, is_warning=True)
    TRAINING_SUCCEEDED = "TrainingSucceeded", ReasonFacts(Group.TRAINING, Tone.GOOD)
    TRAINING_CANCELLED = "TrainingCancelled", _RUN
    TRAINING_FAILED = "TrainingFailed", ReasonFacts(Group.TRAINING, Tone.BAD, is_warning=True)
    CANDIDATE_FAILED = "CandidateFailed", ReasonFacts(Group.TRAINING, Tone.WARN, is_warning=True)
    TRAINING_WARNING = "TrainingWarning", ReasonFacts(Group.TRAINING, Tone.WARN, is_warning=True)
    NOT_PROMOTED = "NotPromoted", ReasonFacts(Group.TRAINING, Tone.WARN, is_warning=True)
    CIRCUIT_OPENED = "CircuitOpened", ReasonFacts(Group.TRAINING, Tone.BAD, is_warning=True)
    CIRCUIT_OPEN = "CircuitOpen", ReasonFacts(Group.TRAINING, Tone.BAD)
    LOOP_BROKEN = "LoopBroken", ReasonFacts(Group.TRAINING, Tone.WARN, is_warning=True)
    APPROVAL_REQUIRED = "ApprovalRequired", _DELAY
    BACKING_OFF = "BackingOff", ReasonFacts(Group.TRAINING, Tone.WARN, is_warning=True)
    BUDGET_SPENT = "BudgetSpent", _DELAY
    COOLING_DOWN = "CoolingDown", _DELAY

    # Rollout
    ROLLOUT_REQUESTED = "RolloutRequested", _STEP
    ROLLOUT_STARTED = "RolloutStarted", _STEP
    ROLLOUT_RESTARTED = "RolloutRestarted", ReasonFacts(Group.ROLLOUT, Tone.WARN)
    CHALLENGER_READY = "ChallengerReady", _PROGRESS
    STEP_STARTED = "StepStarted", _PROGRESS
    STEP_PASSED = "StepPassed", _SUCCESS
    PROMOTING = "Promoting", _STEP
    FIRST_DEPLOYED = "FirstDeployed", _SUCCESS
    PROMOTED = "Promoted", _SUCCESS
    TOO_LITTLE_EVIDENCE = "TooLittleEvidence", _STEP
    INCONCLUSIVE = "Inconclusive", _WAIT
    DEADLINE_EXCEEDED = "DeadlineExceeded", _WAIT
    MEASUREMENT_AWAY = "MeasurementAway", _WAIT
    REGISTRY_AWAY = "RegistryAway", _WAIT
    TRAFFIC_SPLIT_NOT_OBEYED = "TrafficSplitNotObeyed", _WAIT
    ANALYSIS_FAILED_ONCE = "AnalysisFailedOnce", _WAIT
    CHALLENGER_LOST = "ChallengerLost", _WAIT
    ARM_LEFT = "ArmLeft", _WAIT
    BASELINE_MISSING = "BaselineMissing", _WAIT
    EXPERIMENT_FROZEN = "ExperimentFrozen", _WAIT
    CHALLENGER_REFUSED = "ChallengerRefused", _FAILURE
    CHALLENGER_CRASHING = "ChallengerCrashing", _ROLLBACK
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded", _ROLLBACK
    ANALYSIS_FAILED = "AnalysisFailed", _ROLLBACK
    SYSTEM_DELETED = "SystemDeleted", _STEP
    ROLLED_BACK = "RolledBack", _FAILURE

    # Batches
    BATCH_WRITTEN = "BatchWritten", ReasonFacts(Group.OPERATION, Tone.GOOD, is_decision=False)
    BATCH_FAILED = (
        "BatchFailed",
        ReasonFacts(Group.OPERATION, Tone.BAD, is_warning=True, is_decision=False),
    )

    # Operation
    DELETING = "Deleting", _STEP
    ALERT_RESOLVED = "AlertResolved", ReasonFacts(Group.ALERT, is_decision=False)
    PART_AWAY = "PartAway", ReasonFacts(Group.OPERATION, Tone.WARN, is_warning=True, is_decision=False)
    PART_NOT_STARTING = (
        "PartNotStarting",
        ReasonFacts(Group.OPERATION, Tone.WARN, is_warning=True, is_decision=False),
    )
    PART_STARTED = "PartStarted", ReasonFacts(Group.OPERATION, is_decision=False)
    PART_BACK = "PartBack", ReasonFacts(Group.OPERATION, is_decision=False)
    TRAFFIC_RESTORED = "TrafficRestored", ReasonFacts(Group.OPERATION, Tone.WARN, is_warning=True)
    OBJECT_REFUSED = "ObjectRefused", ReasonFacts(Group.OPERATION, Tone.BAD, is_warning=True)
    PROCESS_DIED = "ProcessDied", ReasonFacts(Group.OPERATION, Tone.WARN)
    PROCESS_GAVE_UP = "ProcessGaveUp", ReasonFacts(Group.OPERATION, Tone.BAD)
    PROCESS_RESTARTED = "ProcessRestarted", _OPERATION

    # The operator alone, as Events of the cluster
    DELETED_UNDRAINED = "DeletedUndrained", _WARNING
    INVALID_SPEC = "InvalidSpec", _WARNING
    NOT_ALLOWED = "NotAllowed", _WARNING
    OBJECT_RESTORED = "ObjectRestored", _WARNING
    VOLUMES_KEPT = "VolumesKept", _OPERATION
    VOLUMES_ADOPTED = "VolumesAdopted", _OPERATION


_BY_TEXT = {str(reason): reason for reason in Reason}


def facts_of(reason: str, details: Mapping[str, object]) -> ReasonFacts:
    """The facts of a line with that reason and those details; a reason that is none of ours is an alert's name."""
    known = _BY_TEXT.get(reason)
    if known is not None:
        return known.facts
    return ALERT if "alert" in details else _OPERATION

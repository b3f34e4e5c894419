"""What a training run should do next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from capstan.domain.actions import Action, CancelTraining, Decision, Plan, StartTraining, Waiting
from capstan.domain.reasons import Reason
from capstan.domain.system import TrainingState, as_stored
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.trouble import Away
from capstan.domain.versions import ModelVersion


@dataclass(frozen=True)
class TrainingObservation:
    """All that `plan_training` looks at besides the run itself."""

    status: RunStatus | Away
    registered: ModelVersion | Away | None = None
    """The version that the registry holds for this run; asked when the pipelines name none."""
    cancel: bool = False
    obstacle: str = ""
    """What it would lack, in words; it does not start meanwhile. Empty: nothing."""


def plan_training(
    request: TrainingRequest, state: TrainingState, seen: TrainingObservation, *, now: datetime
) -> Plan[TrainingState]:
    """The next stored state of the run; starting it twice starts it once, so it is started until it is seen."""
    if state.is_final:
        return Plan(state)
    decisions: list[Decision] = []
    if state.phase is RunPhase.ABSENT:
        state = replace(state, phase=RunPhase.RUNNING, started_at=now)
        message = f"{request.trigger.kind} as of {request.trigger.as_of:%Y-%m-%d %H:%M} UTC: {request.trigger.reason}"
        decisions.append(_decision(request, Reason.TRAINING_STARTED, message, "started"))
    if seen.cancel and not state.cancelled:
        state = replace(state, cancelled=True)
    if isinstance(seen.status, Away):
        return Plan(state, (), tuple(decisions), Waiting.TRAINING, str(seen.status))
    state, ending = _follow(request, state, seen, now)
    decisions += ending
    actions: tuple[Action, ...] = ()
    waiting, message = Waiting.NOTHING, ""
    if not state.is_final:
        waiting, message = Waiting.TRAINING, f"{request.run} is training"
        if seen.status.phase is RunPhase.ABSENT and seen.obstacle:
            message = f"{request.run} does not start: {seen.obstacle}"
        elif seen.status.phase is RunPhase.ABSENT:
            actions = (StartTraining(request),)
        elif state.cancelled:
            actions = (CancelTraining(request.run),)
        elif seen.status.phase is RunPhase.SUCCEEDED:
            message = f"the result of {request.run} waits: {seen.registered}"
    return Plan(state, actions, tuple(decisions), waiting, message)


def _follow(
    request: TrainingRequest, state: TrainingState, seen: TrainingObservation, now: datetime
) -> tuple[TrainingState, list[Decision]]:
    assert isinstance(seen.status, RunStatus)
    status = seen.status
    if state.cancelled and status.phase in (RunPhase.ABSENT, RunPhase.CANCELLED):
        ended = replace(state, phase=RunPhase.CANCELLED, finished_at=now)
        return ended, [_decision(request, Reason.TRAINING_CANCELLED, "a person asked for it", "finished")]
    match status.phase:
        case RunPhase.ABSENT:
            return state, []
        case RunPhase.RUNNING:
            return replace(state, result=status), _waits(request, state, status)
        case RunPhase.FAILED | RunPhase.CANCELLED:
            ended = replace(state, phase=RunPhase.FAILED, finished_at=now, result=status)
            message = status.message or f"the pipeline is {status.phase}"
            failed = _decision(request, Reason.TRAINING_FAILED, message, "finished")
            return ended, [*remarks(request, status), failed]
        case RunPhase.SUCCEEDED:
            version = status.version or seen.registered
            if isinstance(version, Away):
                return state, []
            if version is None:
                message = "the pipeline succeeded and registered no version"
                ended = replace(state, phase=RunPhase.FAILED, finished_at=now, result=status)
                return ended, [_decision(request, Reason.TRAINING_FAILED, message, "finished")]
            result = as_stored(replace(status, version=version))
            ended = replace(state, phase=RunPhase.SUCCEEDED, finished_at=now, result=result)
            gates = "; ".join(gate.message for gate in status.gates) or "no gates"
            taken = f" ({status.chosen_in_words})" if status.chosen else ""
            further = f"; {status.runners_up_in_words}" if status.runners_up else ""
            message = f"{version.name}{taken} as of {version.as_of:%Y-%m-%d}: {gates}{further}"
            decision = _decision(request, Reason.TRAINING_SUCCEEDED, message, "finished")
            details = {**decision.details, "version": version.name}
            if status.chosen:
                details["candidate"] = status.chosen_in_words
            return ended, [*remarks(request, status), replace(decision, details=details)]


def _waits(request: TrainingRequest, state: TrainingState, status: RunStatus) -> list[Decision]:
    """What a step waits for, told when it begins to: it may last for hours."""
    before = {(step.name, step.waits_for) for step in (state.result.steps if state.result else ())}
    return [
        _decision(
            request,
            Reason.TRAINING_WAITS,
            f"{step.name}: {step.message}",
            f"waits/{step.name}/{step.waits_for}",
        )
        for step in status.steps
        if step.waits_for and step.phase is RunPhase.RUNNING and (step.name, step.waits_for) not in before
    ]


def remarks(request: TrainingRequest, status: RunStatus) -> list[Decision]:
    """What the end of a run would hide, a line of the story each: candidates that failed, and warnings."""
    return [
        *(
            _decision(request, Reason.CANDIDATE_FAILED, f"{name}: {reason}", f"candidate/{name}")
            for name, reason in status.failed.items()
        ),
        *(
            _decision(request, Reason.TRAINING_WARNING, warning, f"warning/{number}")
            for number, warning in enumerate(status.warnings)
        ),
    ]


def gates_passed(status: RunStatus) -> bool:
    """All gates were passed; one without enough evidence was not."""
    return all(gate.passed is True for gate in status.gates)


def _decision(request: TrainingRequest, reason: str, message: str, key: str) -> Decision:
    details: dict[str, object] = {"run": request.run, "trigger": request.trigger.kind.value}
    if request.champion is not None:
        details["champion"] = request.champion
    if request.trigger.alerts:
        details["alerts"] = list(request.trigger.alerts)
    if request.trigger.webhooks:
        details["webhooks"] = list(request.trigger.webhooks)
    return Decision(reason, message, key, details)

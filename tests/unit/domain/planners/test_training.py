"""Claims about the planner of one training run."""

from __future__ import annotations

from datetime import UTC, datetime

from capstan.domain.actions import StartTraining
from capstan.domain.planners.training import TrainingObservation, plan_training
from capstan.domain.system import TrainingState
from capstan.domain.training import RunPhase, RunStatus, StepProgress, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REQUEST = TrainingRequest(
    RunName("flights-0123456789"),
    SystemName("flights"),
    Trigger(TriggerKind.INITIAL, NOW, "the first model"),
    None,
    0,
)
ABSENT = RunStatus(RunPhase.ABSENT)
REFUSED = "Service flights-gateway is refused: exceeded quota"


def test_a_run_that_was_asked_for_does_not_start_while_there_is_an_obstacle() -> None:
    plan = plan_training(REQUEST, TrainingState(), TrainingObservation(ABSENT, obstacle=REFUSED), now=NOW)
    assert plan.actions == ()
    assert plan.message == f"flights-0123456789 does not start: {REFUSED}"
    free = plan_training(REQUEST, plan.status, TrainingObservation(ABSENT), now=NOW)
    assert free.actions == (StartTraining(REQUEST),)


def test_a_run_that_goes_on_is_not_touched_by_an_obstacle() -> None:
    seen = TrainingObservation(RunStatus(RunPhase.RUNNING), obstacle=REFUSED)
    plan = plan_training(REQUEST, TrainingState(), seen, now=NOW)
    assert plan.actions == ()
    assert plan.message == "flights-0123456789 is training"


def test_what_a_step_waits_for_is_told_once_while_it_lasts() -> None:
    words = "MLflow is unavailable: refused; waits since 12:00 UTC and gives up at 18:00 UTC"
    waiting = StepProgress("register", RunPhase.RUNNING, message=words, waits_for="MLflow")
    seen = TrainingObservation(RunStatus(RunPhase.RUNNING, steps=(waiting,)))
    first = plan_training(REQUEST, TrainingState(RunPhase.RUNNING), seen, now=NOW)
    assert [(d.reason, d.message) for d in first.decisions] == [("TrainingWaits", f"register: {words}")]
    assert plan_training(REQUEST, first.status, seen, now=NOW).decisions == ()

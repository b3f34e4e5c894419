"""Claims about the planner of one training run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from capstan.domain.actions import StartTraining
from capstan.domain.planners.training import TrainingObservation, plan_training
from capstan.domain.system import TrainingState
from capstan.domain.training import (
    GateOutcome,
    RunnerUp,
    RunPhase,
    RunStatus,
    StepProgress,
    TrainingRequest,
)
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName

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


def test_a_run_that_has_succeeded_names_its_runners_up() -> None:
    def version(name: str) -> ModelVersion:
        return ModelVersion(VersionName(name), Digest("sha256:0"), REQUEST.run, "flights:a", NOW)

    runners_up = tuple(RunnerUp(name, version(of)) for name, of in (("trees", "v2"), ("own", "v3")))
    done = RunStatus(RunPhase.SUCCEEDED, version=version("v1"), chosen=("linear",), runners_up=runners_up)
    plan = plan_training(REQUEST, TrainingState(RunPhase.RUNNING), TrainingObservation(done), now=NOW)
    told = "v1 (linear) as of 2026-03-01: no gates"
    assert plan.decisions[-1].message == f"{told}; runners-up v2 (trees), v3 (own)"
    one = TrainingObservation(RunStatus(RunPhase.SUCCEEDED, version=version("v1"), runners_up=runners_up[:1]))
    plan = plan_training(REQUEST, TrainingState(RunPhase.RUNNING), one, now=NOW)
    assert plan.decisions[-1].message == "v1 as of 2026-03-01: no gates; runner-up v2 (trees)"


@pytest.mark.parametrize("passed", [False, None])
def test_a_gate_without_words_keeps_a_runner_up_out_all_the_same(passed: bool | None) -> None:
    version = ModelVersion(VersionName("v2"), Digest("sha256:0"), REQUEST.run, "flights:a", NOW)
    gates = (GateOutcome("logLoss", True, "fine"), GateOutcome("rocAuc", passed, ""))
    assert RunnerUp("trees", version, gates).missed == "rocAuc"
    assert RunnerUp("trees", version, gates[:1]).missed == ""

"""What the loop survives, row by row of the list of faults."""

from __future__ import annotations

import itertools
import random
from datetime import timedelta

import pytest
from simulation.scripts import drift
from simulation.world import DAY, SYSTEM, Model, World

from capstan.adapters.memory.loop import Training
from capstan.domain.actions import Verb, Waiting
from capstan.domain.training import RunPhase, RunStatus
from capstan.domain.verdicts.evidence import LossBlock, OperationEvidence, PairedEvidence, VersionOperation
from capstan.domain.versions import VersionName
from capstan.engine import commands
from capstan.engine.story import count, lineage
from capstan.errors import NotAllowedError, NotFoundError
from capstan.ports.store import Kind


@pytest.fixture
def world() -> World:
    return World()


def in_canary(world: World, **model: object) -> World:
    world.start()
    drift(world, **model)
    world.days(8)
    assert world.traffic.read_back().weight_of("v2") == 25
    return world


def test_a_clock_that_jumps_back_promotes_nothing_early(world: World) -> None:
    """FAULTS 3."""
    in_canary(world)
    world.clock.jump(now=-timedelta(days=5), wall=-timedelta(days=5))
    world.settle()
    assert "Promoted" not in world.reasons()
    assert world.traffic.read_back().weight_of("v2") == 25


def test_a_clock_that_jumps_ahead_does_not_promote_without_evidence(world: World) -> None:
    """FAULTS 3, 11."""
    world.start()
    drift(world)
    world.requests_per_day = 0
    world.clock.jump(now=20 * DAY, wall=20 * DAY)
    world.settle()
    assert world.champion == "v1"
    assert "StepPassed" not in world.reasons()


def test_a_loop_that_was_away_for_days_acts_on_the_present_file(world: World) -> None:
    """FAULTS 4."""
    in_canary(world)
    for weight in (30, 35, 40):
        world.edit_file(lambda spec, w=weight: spec["rollout"]["steps"][1]["canary"].update(weight=w))
    world.clock.advance(3 * DAY)
    world.restart()
    world.settle()
    assert world.reasons().count("RolloutRestarted") == 1
    assert world.traffic.read_back().mirrors


def test_a_challenger_has_its_whole_deadline_after_nobody_could_say_what_is_ready(world: World) -> None:
    """The API server is away for an hour, in which a challenger starts that has five minutes."""
    world.start()
    world.serving.startup = timedelta(minutes=4)
    drift(world)
    world.clock.advance(timedelta(minutes=1))
    world.serving.faults.away = "connection refused"
    for _ in range(4):
        world.clock.advance(timedelta(minutes=15))
        world.settle()
    world.serving.faults.away = None
    world.serving.never_ready.add(VersionName("v2"))
    world.settle()
    assert "ProgressDeadlineExceeded" not in world.reasons()
    world.clock.advance(timedelta(minutes=6))
    world.settle()
    assert "ProgressDeadlineExceeded" in world.reasons()


def test_looks_that_fail_now_and_then_keep_no_challenger_alive(world: World) -> None:
    """Of five looks, a minute apart, one fails; the challenger has five minutes."""
    world.start()
    world.serving.never_ready.add(VersionName("v2"))
    drift(world)
    for minute in range(8):
        world.clock.advance(timedelta(minutes=1))
        world.serving.faults.away = "timed out" if minute % 5 == 2 else None
        world.settle()
        world.serving.faults.away = None
        world.settle()
    assert "ProgressDeadlineExceeded" in world.reasons()


def test_prometheus_away_aborts_where_the_file_says_so() -> None:
    """FAULTS 9."""
    world = World()
    world.edit_file(lambda spec: spec["rollout"]["limits"].update(onError="Abort"))
    in_canary(world)
    world.operation.faults.away = "connection refused"
    world.days(4)
    assert "MeasurementAway" in world.reasons()
    assert world.reasons()[-1] == "RolledBack"
    assert world.traffic.read_back().weight_of("v1") == 100


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_results_that_are_no_numbers_never_pass(world: World, value: float) -> None:
    """FAULTS 10."""
    world.start()
    block = LossBlock(world.clock.now(), 500, value, 1.0)
    world.evidence.pairs = lambda *_: PairedEvidence((block,) * 30, 99_999, 99_999)
    drift(world)
    world.days(30)
    assert world.champion == "v1"
    assert "StepPassed" not in world.reasons()


def test_empty_results_never_pass(world: World) -> None:
    """FAULTS 10, 11."""
    world.start()
    world.operation.counters = lambda champion, challenger, *_: OperationEvidence(
        VersionOperation(champion, 0, 0), VersionOperation(challenger, 0, 0)
    )
    drift(world)
    world.days(30)
    assert world.champion == "v1"
    assert "DeadlineExceeded" in world.reasons()


def test_too_little_traffic_holds_and_says_so(world: World) -> None:
    """FAULTS 11."""
    in_canary(world)
    world.requests_per_day = 10
    world.days(10)
    assert world.champion == "v1"
    assert "challenger" in world.messages("TooLittleEvidence")[-1]
    assert world.outcome.waiting_for is Waiting.EVIDENCE


def test_a_guardrail_without_a_verdict_at_the_end_does_not_promote(world: World) -> None:
    """FAULTS 12."""
    in_canary(world)
    world.days(2)
    assert world.traffic.read_back().weight_of("v2") == 50
    world.operation.counters = lambda champion, challenger, *_: OperationEvidence(
        VersionOperation(champion, 5000, 0), VersionOperation(challenger, 5000, 0)
    )
    world.days(20)
    assert world.champion == "v1"
    assert "Promoted" not in world.reasons()


def test_a_split_that_is_not_obeyed_holds_and_says_so(world: World) -> None:
    """FAULTS 15."""
    in_canary(world)
    world.obeyed = {"v1": 1.0, "v2": 0.0}
    world.days(5)
    assert "TrafficSplitNotObeyed" in world.reasons()
    assert world.champion == "v1"
    held = world.engine().reconcile(SYSTEM).standstill
    assert (held.split_not_obeyed, held.champion, held.challenger) == (True, "v1", "v2")
    world.obeyed = None
    world.days(5)
    assert world.champion == "v2"
    assert not world.engine().reconcile(SYSTEM).standstill.split_not_obeyed


def test_repeated_reordered_and_resolved_alerts_change_nothing(world: World) -> None:
    """FAULTS 18, 27, 28."""
    world.start()
    world.days(15)
    for number in range(1000):
        world.fire(mark=f"mark-{number:04}")
    world.settle()
    shuffled = random.Random(1)
    for _ in range(5):
        shuffled.shuffle(world.alerts.firing)
        world.alerts.firing += world.alerts.firing[:100]
        world.settle()
    world.days(8)
    assert len(world.pipelines.started) == 2
    assert count(event for _, event in world.store.events()).alerts == 1000


def test_alerts_about_another_version_are_ignored(world: World) -> None:
    """FAULTS 28."""
    world.start()
    world.days(15)
    world.fire(version="v7")
    world.days(5)
    assert len(world.pipelines.started) == 1


def test_an_alertmanager_away_triggers_nothing_and_is_told(world: World) -> None:
    world.start()
    world.days(15)
    world.fire()
    world.alerts.faults.away = "connection refused"
    world.days(2)
    assert len(world.pipelines.started) == 1
    assert world.messages("PartAway") == ["alertmanager is unavailable: connection refused"]
    world.alerts.faults.away = None
    world.settle()
    assert len(world.pipelines.started) == 2
    assert world.reasons().count("PartBack") == 1


def test_a_registry_away_during_training_delays_the_result(world: World) -> None:
    """FAULTS 24."""
    world.start()
    world.days(15)
    world.training = lambda request: Training(
        RunStatus(RunPhase.SUCCEEDED, version=None, gates=world.trained(request).result.gates)
    )
    world.fire()
    world.registry.faults.away = "connection refused"
    world.settle()
    world.days(2)
    assert world.outcome.waiting_for is Waiting.TRAINING
    world.registry.faults.away = None
    made = world.trained(world.pipelines.started[-1]).result.version
    world.registry.register(made, tags={}, metrics={})
    world.settle()
    assert world.traffic.read_back().mirrors


def test_a_registry_that_dies_in_the_midst_of_the_promotion_moves_each_alias_once(world: World) -> None:
    """FAULTS 24, 25."""
    world.start()
    drift(world)
    world.days(10)
    original, calls = world.registry.set_alias, itertools.count()

    def flaky(alias: str, version: VersionName | None) -> None:
        original(alias, version)
        if next(calls) == 0:
            world.registry.faults.away = "gone after the first move"

    world.registry.set_alias = flaky  # type: ignore[method-assign]
    world.days(2)
    assert world.traffic.read_back().weight_of("v2") == 100
    assert "Promoted" not in world.reasons()
    world.registry.faults.away = None
    world.days(1)
    assert world.registry.moves[-2:] == [("champion", "v2"), ("challenger", None)]
    assert world.reasons().count("Promoted") == 1


def test_a_challenger_of_alerts_that_fail_again_waits_twice_as_long_each_time(world: World) -> None:
    """FAULTS 29."""
    world.start()
    world.training = world.failed
    world.days(15)
    world.fire()
    world.settle()
    world.days(2, step=timedelta(hours=1))
    starts = [event.at for _, event in world.store.events() if event.reason == "TrainingStarted"][1:]
    assert [b - a for a, b in itertools.pairwise(starts)] == [timedelta(hours=1), timedelta(hours=2)]
    with pytest.raises(NotAllowedError, match=r"circuit is open.*capstan resume"):
        commands.issue(world.store, SYSTEM, Verb.RETRAIN)


def test_the_budget_holds_further_runs_and_names_the_day(world: World) -> None:
    world.edit_file(lambda spec: spec["retraining"].update(budget={"runs": 1, "per": "60d"}, cooldown="1d"))
    world.start()
    world.models["v2"] = Model(gain=-0.2)
    world.days(5)
    world.fire()
    world.days(30)
    assert len(world.pipelines.started) == 2
    assert "2013-04-08" in world.messages("BudgetSpent")[0]
    world.days(35)
    assert len(world.pipelines.started) == 3


def test_the_newest_trigger_that_came_meanwhile_is_kept(world: World) -> None:
    world.start()
    world.models["v2"] = Model(gain=-0.2)
    world.days(15)
    world.fire()
    world.days(2)
    late = world.fire()
    world.days(1)
    world.resolve()
    world.days(20)
    assert [request.trigger.as_of for request in world.pipelines.started][-1] == late.as_of


def test_a_retrained_model_that_is_never_better_asks_for_approval(world: World) -> None:
    """FAULTS 30."""
    world.start()
    world.models |= {"v2": Model(gain=-0.2), "v3": Model(gain=-0.2)}
    world.days(15)
    world.fire()
    world.days(90)
    assert [request.champion for request in world.pipelines.started] == [None, "v1", "v1"]
    assert world.reasons()[-1] == "LoopBroken"
    assert world.outcome.waiting_for is Waiting.APPROVAL


def test_a_first_model_that_misses_its_gates_is_not_trained_again_by_the_same_file(world: World) -> None:
    world.gates_pass = False
    world.settle()
    world.days(90)
    assert len(world.pipelines.started) == 1
    assert world.reasons()[-1] == "LoopBroken"
    assert world.outcome.waiting_for is Waiting.APPROVAL
    world.ask(Verb.RETRAIN)
    world.days(30)
    first, second = world.pipelines.started
    assert second.trigger.as_of - first.trigger.as_of >= timedelta(days=90)
    world.edit_file(lambda spec: spec["retraining"].update(cooldown="15d"))
    world.days(30)
    assert len(world.pipelines.started) == 3
    assert world.pipelines.started[-1].trigger.as_of > second.trigger.as_of
    world.gates_pass = True
    world.ask(Verb.APPROVE)
    world.settle()
    assert world.champion == "v4"


def test_a_deleted_system_leaves_nothing_behind_and_may_come_again(world: World) -> None:
    """FAULTS 7."""
    in_canary(world)
    world.delete()
    world.settle()
    assert not world.serving.readiness()
    assert [world.store.list(kind) for kind in Kind] == [[], [], []]
    splits = [split.weight_of("v1") for split in world.traffic.applied]
    assert splits[-2:] == [75, 100], "the champion had all traffic before anything was taken away"


def test_every_promotion_can_be_walked_back_to_its_alert(world: World) -> None:
    world.start()
    drift(world)
    world.days(13)
    events = [event for _, event in world.store.events()]
    walked = lineage(events, "alert", "DriftDetected-v1")
    told = [event.reason for event in walked]
    assert {"DriftDetected", "TrainingRequested", "TrainingSucceeded", "RolloutRequested", "Promoted"} <= set(
        told
    )
    assert "FirstDeployed" not in told
    counts = count(events)
    assert (counts.alerts, counts.retrainings, counts.promotions, counts.rollbacks) == (1, 1, 1, 0)


@pytest.mark.parametrize(
    ("verb", "version", "answer"),
    [
        (Verb.RESUME, None, "nothing is paused"),
        (Verb.ABORT, None, "neither a training nor a rollout"),
        (Verb.APPROVE, None, "nothing waits for approval"),
        (Verb.ROLLBACK, None, "no older version is kept"),
        (Verb.ROLLBACK, "v1", "v1 is the champion"),
        (Verb.PROMOTE, None, "name a version"),
        (Verb.PROMOTE, "v1", "v1 is the champion already"),
    ],
)
def test_a_command_that_is_not_possible_says_what_is(
    world: World, verb: Verb, version: str | None, answer: str
) -> None:
    world.start()
    with pytest.raises(NotAllowedError, match=f"{answer}.*possible now: `capstan "):
        commands.issue(world.store, SYSTEM, verb, version=version)
    with pytest.raises(NotFoundError):
        commands.issue(world.store, "nobody", verb)


def test_a_version_injected_past_the_gate_goes_through_all_steps(world: World) -> None:
    world.start()
    drift(world, gain=-0.2)
    world.days(10)
    assert world.champion == "v1"
    world.ask(Verb.PROMOTE, "v2")
    world.settle()
    assert world.traffic.read_back().mirrors
    world.days(10)
    assert world.champion == "v1"
    assert world.reasons().count("RolledBack") == 2


def test_a_person_may_promote_past_the_remaining_steps(world: World) -> None:
    in_canary(world)
    world.ask(Verb.PROMOTE)
    world.settle()
    assert world.champion == "v2"
    assert "a person asked for it, past the remaining steps" in world.messages("Promoted")[0]


def test_a_pause_step_waits_for_a_person() -> None:
    world = World()
    world.edit_file(lambda spec: spec["rollout"]["steps"].append({"pause": {}}))
    world.start()
    drift(world)
    world.days(20)
    assert world.outcome.waiting_for is Waiting.APPROVAL
    assert world.champion == "v1"
    world.ask(Verb.APPROVE)
    world.days(1)
    assert world.champion == "v2"

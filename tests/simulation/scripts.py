"""What happens in each golden story."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from simulation.world import DAY, Model, World

from capstan.adapters.memory.loop import Batch, Training
from capstan.domain.actions import Verb
from capstan.domain.batch_calendar import BatchStatus
from capstan.domain.steps.questions import Interleaving
from capstan.domain.traffic import Arm, TrafficSplit, Weight
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.triggers import WebhookCall
from capstan.domain.verdicts.preference import PreferenceCounts, PreferenceDay, PreferenceEvidence
from capstan.domain.versions import VersionName

Script = Callable[[World], None]
SCRIPTS: dict[str, Script] = {}


def story(script: Script) -> Script:
    SCRIPTS[script.__name__] = script
    return script


def interleaving(
    world: World, *, won: int, lost: int, tied: int = 300, returned: tuple[int, int] | None = None
) -> None:
    """The file is one of a ranking whose users get lists of both; so many units a day prefer the challenger or not.

    `returned`: units a day that return more of the challenger's items, and of the champion's; None: nothing guards.
    """

    def change(spec: dict[str, Any]) -> None:
        spec["objective"]["task"] = "Ranking"
        spec["data"]["keys"]["group"] = "hour"
        both: dict[str, Any] = {"event": "click", "window": "1h", "minUnits": 1000, "deadline": "14d"}
        if returned is not None:
            both["guardrails"] = [{"event": "return", "margin": 0.05}]
        spec["rollout"]["steps"] = [{"interleave": both}, {"canary": {"weight": 50, "duration": "2d"}}]
        del spec["rollout"]["analyses"]

    def preferred(asked: Interleaving, since: datetime, as_of: datetime) -> PreferenceEvidence:
        # Units of the last hour are not over yet.
        whole = int((as_of - since - asked.window) / DAY + 1e-9)
        more, less = (won, lost) if asked.event == "click" else (returned or (0, 0))
        counts = PreferenceCounts(more, less, won + lost + tied - more - less)
        days = tuple(PreferenceDay(since + DAY * day, counts) for day in range(whole))
        return PreferenceEvidence(days, waiting=20, requests=sum(day.counts.units for day in days))

    world.edit_file(change)
    world.evidence.preferred = preferred


def alert(world: World) -> None:
    """A drift alert, which is over once its retraining has begun."""
    world.note("drift alert")
    world.fire()
    world.settle()
    world.resolve()


def drift(world: World, **model: object) -> None:
    """Fifteen quiet days, then a drift alert whose retraining gives the next version."""
    world.models[f"v{len(world.registry.versions()) + 1}"] = Model(**model)  # type: ignore[arg-type]
    world.days(15)
    alert(world)


@story
def better_challenger_is_promoted(world: World) -> None:
    world.start()
    drift(world)
    world.days(13)


@story
def preferred_ranker_is_promoted(world: World) -> None:
    interleaving(world, won=70, lost=45)
    world.start()
    drift(world)
    world.days(12)
    assert world.champion == "v2"


@story
def ranker_that_users_like_less_is_rolled_back(world: World) -> None:
    interleaving(world, won=45, lost=70)
    world.start()
    drift(world)
    world.days(8)
    assert world.champion == "v1"


@story
def ranker_that_users_like_and_return_from_is_rolled_back(world: World) -> None:
    """Its items are clicked more often, and sent back more often."""
    interleaving(world, won=70, lost=45, returned=(20, 5))
    world.start()
    drift(world)
    world.days(8)
    assert world.champion == "v1"


@story
def rankers_that_users_like_alike_are_held_at_the_deadline(world: World) -> None:
    interleaving(world, won=56, lost=55)
    world.start()
    drift(world)
    world.days(16)
    assert world.champion == "v1"


@story
def alert_of_a_replaced_champion_is_over(world: World) -> None:
    """Alertmanager goes on with the alert of v1 after v2 has taken its place; nobody watches v1 any more."""
    world.start()
    world.days(15)
    world.note("drift alert that stays")
    world.fire()
    world.days(13)
    assert world.champion == "v2"


@story
def worse_challenger_is_rolled_back_in_shadow(world: World) -> None:
    world.start()
    drift(world, gain=-0.1)
    world.days(10)


@story
def failing_challenger_is_rolled_back(world: World) -> None:
    world.start()
    drift(world, error_rate=0.2)
    world.days(3)


@story
def slow_challenger_is_rolled_back(world: World) -> None:
    world.start()
    drift(world, slowness=4)
    world.days(3)


def asking_for_refunds(document: dict[str, object]) -> None:
    """The file asks Prometheus for refunds in its first canary."""
    rollout = document["rollout"]
    assert isinstance(rollout, dict)
    rollout["queries"] = [
        {
            "name": "refunds",
            "promql": "refunds of $challenger",
            "successWhen": "result < 0.05",
            "failureWhen": "result > 0.1",
            "interval": "1h",
            "failures": 2,
        }
    ]
    rollout["steps"][1]["canary"]["queries"] = ["refunds"]


@story
def refunds_that_a_query_of_the_file_finds_roll_back(world: World) -> None:
    world.start()
    world.edit_file(asking_for_refunds)
    drift(world, refunds=0.4)
    world.days(10)


@story
def query_of_the_file_without_data_holds_the_canary(world: World) -> None:
    world.start()
    world.edit_file(asking_for_refunds)
    drift(world, refunds=None)
    world.days(16)
    world.note("the shop exports its refunds")
    world.models["v2"] = Model(refunds=0.02)
    world.days(4)


@story
def nan_answers_are_rolled_back(world: World) -> None:
    world.start()
    drift(world, nonfinite=3)
    world.days(3)


@story
def challenger_that_is_never_ready_is_rolled_back(world: World) -> None:
    world.start()
    world.serving.never_ready.add(VersionName("v2"))
    drift(world)
    world.minutes(2)
    world.minutes(6)
    world.minutes(6)


@story
def refused_artifact_is_rolled_back(world: World) -> None:
    world.start()
    world.serving.untrusted.add(VersionName("v2"))
    drift(world)
    world.minutes(1)


@story
def challenger_that_dies_again_and_again_is_rolled_back(world: World) -> None:
    world.start()
    drift(world)
    world.days(9)
    for _ in range(4):
        world.note("v2 dies")
        world.serving.crash(VersionName("v2"))
        world.minutes(1)
        world.serving.recover(VersionName("v2"))
        world.minutes(1)


@story
def labels_that_never_come_hold_until_the_deadline_and_beyond(world: World) -> None:
    world.start()
    drift(world, labels=False)
    world.days(23)
    world.ask(Verb.ABORT)
    world.settle()


@story
def edited_file_restarts_at_the_first_step(world: World) -> None:
    world.start()
    drift(world)
    world.days(8)
    world.note("the file is edited: canary 40 %")
    world.edit_file(lambda spec: spec["rollout"]["steps"][1]["canary"].update(weight=40))
    world.settle()
    world.days(12)


@story
def prometheus_away_holds_and_goes_on(world: World) -> None:
    world.start()
    drift(world)
    world.days(7)
    world.note("Prometheus dies")
    world.operation.faults.away = "connection refused"
    world.days(4)
    world.note("Prometheus is back")
    world.operation.faults.away = None
    world.days(4)


@story
def deleted_in_the_canary(world: World) -> None:
    world.start()
    drift(world)
    world.days(8)
    world.delete()
    world.settle()


@story
def promotion_is_undone_by_a_person(world: World) -> None:
    world.start()
    drift(world)
    world.days(13)
    world.ask(Verb.ROLLBACK, "v1")
    world.settle()
    world.days(1)


@story
def broken_candidate_is_told_and_a_lone_baseline_stays_out(world: World) -> None:
    """The own model fails beside others, then after an edit beside the baseline alone."""
    why = "mymodels:make gave LinearSVC, which has no predict_proba; return a scikit-learn classifier"

    def beside_others(request: TrainingRequest) -> Training:
        done = world.trained(request)
        warning = "logistic: ConvergenceWarning: lbfgs failed to converge"
        return replace(
            done, result=replace(done.result, chosen=("logistic",), failed={"own": why}, warnings=(warning,))
        )

    def beside_the_baseline(request: TrainingRequest) -> Training:
        message = (
            f"choose: training.candidates: only flat is left, a baseline, for all others failed\n  own: {why}"
        )
        return Training(RunStatus(RunPhase.FAILED, message, failed={"own": why}))

    world.training = beside_others
    world.start()
    world.training = beside_the_baseline
    drift(world)
    world.training = None


@story
def a_person_retrains_at_once_after_a_failure_or_is_told_what_holds_it(world: World) -> None:
    world.start()
    world.training = world.failed
    drift(world)
    world.note("ten minutes later it fails again and backs off anew")
    world.minutes(10)
    world.ask(Verb.RETRAIN)
    world.settle()
    world.training = None
    world.note("the mistake is mended")
    world.minutes(10)
    world.ask(Verb.RETRAIN)
    world.settle()
    world.note("a rollout in progress and a pause hold it, and the answer says so")
    world.ask(Verb.RETRAIN)
    world.settle()
    world.ask(Verb.PAUSE)
    world.settle()


@story
def training_that_fails_again_and_again_opens_the_circuit(world: World) -> None:
    world.start()
    world.training = world.failed
    world.days(15)
    world.fire()
    world.settle()
    world.days(1, step=DAY / 24)
    world.days(10)
    world.note("the data is mended")
    world.training = None
    world.ask(Verb.RESUME)
    world.settle()


@story
def loop_breaker_asks_for_approval(world: World) -> None:
    world.start()
    world.gates_pass = False
    world.days(15)
    world.fire()
    world.settle()
    world.days(40)
    world.gates_pass = True
    world.ask(Verb.APPROVE)
    world.settle()


@story
def thousand_alerts_are_one_run(world: World) -> None:
    world.start()
    world.days(15)
    for number in range(5):
        world.fire("DriftDetected", mark=f"mark-{number}")
    world.settle()
    world.alerts.firing = list(reversed(world.alerts.firing)) * 200
    world.days(2)
    world.resolve()
    world.settle()


@story
def approval_is_required(world: World) -> None:
    world.edit_file(lambda spec: spec["retraining"].update(approval="Required"))
    world.start()
    world.days(15)
    world.fire()
    world.days(2)
    world.ask(Verb.APPROVE)
    world.settle()


@story
def calendar_trains_in_its_zone_and_waits_for_a_rollout(world: World) -> None:
    """The cooldown of 14 days puts off every other Monday, and a training that has begun later makes up for one."""
    trains_by(world, {"schedule": {"cron": "0 6 * * MON", "timeZone": "America/New_York"}})
    world.start()
    world.days(31)


@story
def labels_that_the_last_training_did_not_know_train_anew(world: World) -> None:
    """Four hundred labels a day: 8,000 are there after twenty days, also where a model stays out meanwhile."""
    trains_by(world, {"newData": {"rows": 8000}})
    world.evidence.counted = lambda since, as_of: int((as_of - since) / timedelta(days=1) * 400)
    world.start()
    world.gates_pass = False
    world.days(21)
    world.gates_pass = True
    world.days(22)


@story
def drift_alone_trains_nothing_where_labels_must_be_new_too(world: World) -> None:
    """The alert of the fifth day is over when the labels are there, after twenty; then a second one trains."""
    trains_by(world, {"all": {"of": [{"drift": {}}, {"newData": {"rows": 8000}}]}})
    world.evidence.counted = lambda since, as_of: int((as_of - since) / timedelta(days=1) * 400)
    world.start()
    world.days(5)
    alert(world)
    drift(world)
    world.days(2)


@story
def another_system_asks_by_webhook_and_a_repeat_is_one(world: World) -> None:
    """A call of the second day waits for the cooldown; one during a rollout, until that is over."""
    secret = {"secretKeyRef": {"name": "airflow", "key": "webhook"}}
    trains_by(world, {"webhook": {"sender": "airflow", "secretFrom": secret}})
    world.start()
    world.days(2)
    call(world, "msg_1", "August is complete")
    world.days(1)
    world.note("it tries again, another system calls that the file does not name, and the loop restarts")
    call(world, "msg_1b", "", sender="etl")
    world.restart()
    world.days(12)
    call(world, "msg_2", "")
    world.days(24)
    world.note("its secret is removed, and comes back")
    world.evidence.called = replace(world.evidence.called, closed={"airflow": "retraining.triggers[0]: gone"})
    world.settle()
    world.evidence.called = replace(world.evidence.called, closed={})
    world.settle()


def call(world: World, call_id: str, reason: str, *, sender: str = "airflow") -> None:
    """What the collector has taken, as the loop finds it at its next look."""
    known = world.evidence.called
    number = int(world.clock.wall().timestamp() * 1e6) + len(known.calls)
    called = (*known.calls, WebhookCall(number, sender, call_id, reason))
    world.evidence.called = replace(known, calls=called)


def trains_by(world: World, *triggers: dict[str, Any]) -> None:
    world.edit_file(lambda spec: spec["retraining"].update(triggers=list(triggers)))


@story
def weights_edited_by_hand_are_put_back(world: World) -> None:
    world.start()
    drift(world)
    world.days(8)
    world.note("somebody edits the weights")
    world.traffic.edit_by_hand(
        TrafficSplit(arms=(Arm(VersionName("v1"), Weight(5)), Arm(VersionName("v2"), Weight(95))))
    )
    world.settle()
    world.days(6)


@story
def pause_and_resume(world: World) -> None:
    world.start()
    drift(world)
    world.days(8)
    world.ask(Verb.PAUSE)
    world.days(5)
    world.ask(Verb.RESUME)
    world.settle()


@story
def registry_away_delays_the_promotion(world: World) -> None:
    world.start()
    drift(world)
    world.days(10)
    world.note("the registry dies")
    world.registry.faults.away = "connection refused"
    world.days(3)
    world.note("the registry is back")
    world.registry.faults.away = None
    world.days(1)


def experimenting(world: World, **experiment: object) -> None:
    """The file asks for an experiment and one canary."""
    step = {"weight": 50, "minUnits": 1000, "window": "1d", "deadline": "21d", **experiment}
    steps = [{"experiment": step}, {"canary": {"weight": 60, "minRequests": 100}}]
    online = [
        {"name": "complaints", "event": "complaint", "aggregate": "Rate", "window": "1d", "better": "Lower"}
    ]

    def change(spec: dict[str, Any]) -> None:
        spec["rollout"]["steps"] = steps
        spec["evaluation"] = {"online": online}

    world.edit_file(change)


@story
def experiment_that_wins_is_promoted(world: World) -> None:
    experimenting(world, minimumEffect=0.01, secondary=["complaints"])
    world.start()
    drift(world, gain=0.08)
    world.days(8)


@story
def experiment_that_loses_is_rolled_back(world: World) -> None:
    experimenting(world)
    world.start()
    drift(world, gain=-0.08)
    world.days(7)


@story
def experiment_is_frozen_by_its_sample_ratio(world: World) -> None:
    """More users vanish from one arm than from the other: what lost them may also have made the difference."""
    experimenting(world)
    world.start()
    drift(world, gain=0.08)
    world.obeyed = {"v1": 0.56, "v2": 0.44}
    world.days(4)
    world.ask(Verb.ABORT)
    world.settle()


@story
def experiment_is_stopped_by_a_guardrail(world: World) -> None:
    experimenting(world, guardrails=[{"metric": "complaints", "margin": 0.01}])
    world.start()
    drift(world, gain=0.05, complaints=0.08)
    world.days(4)


@story
def experiment_without_a_verdict_holds_at_its_deadline(world: World) -> None:
    experimenting(world, deadline="8d")
    world.start()
    drift(world, gain=0.0)
    world.days(9)
    world.ask(Verb.ABORT)
    world.settle()


@story
def fixed_horizon_decides_at_its_end_alone(world: World) -> None:
    experimenting(world, test="FixedHorizon", duration="5d", minimumEffect=0.01)
    world.start()
    drift(world, gain=0.08)
    world.days(9)


def with_a_second_version(world: World) -> None:
    """v2 is registered and was taken back; it may take part in later experiments."""
    world.start()
    drift(world, gain=-0.1)
    world.days(8)
    assert world.champion == "v1"
    world.days(7)
    experimenting(world, weight=30, arms=[{"version": "v2", "weight": 30}, {"version": "v9", "weight": 5}])


@story
def named_version_wins_against_the_challenger(world: World) -> None:
    with_a_second_version(world)
    world.models["v2"] = Model(gain=0.1)
    world.models["v3"] = Model(gain=0.0)
    alert(world)
    world.days(9)
    assert world.champion == "v2"


@story
def runner_up_wins_against_the_choice_of_its_training(world: World) -> None:
    world.start()
    experimenting(world, weight=30, runnersUp=1)
    world.runners_up = (True,)
    world.models["v3"] = Model(gain=0.1)
    drift(world, gain=0.0)
    world.days(9)
    assert world.champion == "v3"
    assert world.registry.version(VersionName("v3")).run == world.registry.version(VersionName("v2")).run


def three_candidates(world: World) -> None:
    """As many as a choice and two runners-up take."""
    names = ("logistic", "few-trees", "many-trees")
    few = [{"name": name, "gradientBoosting": {}} for name in names[1:]]
    candidates = [{"name": names[0], "logisticRegression": {}}, *few]
    world.edit_file(lambda spec: spec.update(training={"candidates": candidates}))


@story
def runner_up_that_misses_a_gate_takes_no_part(world: World) -> None:
    """Two are asked for: one misses a gate, and the training had no candidate for the other."""
    world.start()
    experimenting(world, weight=30, runnersUp=2)
    three_candidates(world)
    world.runners_up = (False,)
    drift(world, gain=0.1)
    world.days(9)
    assert world.champion == "v2"
    assert world.serving.starts[VersionName("v3")] == 0


@story
def choice_that_is_shown_worse_than_the_champion_does_not_outlast_the_deadline(world: World) -> None:
    """Its runner-up is still undecided then."""
    world.start()
    experimenting(world, weight=30, runnersUp=1, deadline="8d")
    world.runners_up = (True,)
    world.models["v3"] = Model(gain=0.0)
    drift(world, gain=-0.25)
    world.days(9)
    assert "DeadlineExceeded" in world.reasons()


@story
def arm_that_dies_leaves_the_experiment(world: World) -> None:
    with_a_second_version(world)
    world.models["v3"] = Model(gain=0.1)
    alert(world)
    world.days(2)
    world.note("v2 dies")
    world.serving.crash(VersionName("v2"))
    world.minutes(1)
    world.days(8)
    assert world.champion == "v3"


@story
def arm_that_is_shown_worse_leaves_and_the_others_go_on(world: World) -> None:
    """The evidence of the challenger goes on over the moment at which the worse arm leaves."""
    with_a_second_version(world)
    world.models["v2"] = Model(gain=-0.25)
    world.models["v3"] = Model(gain=0.06)
    alert(world)
    world.days(14)
    assert world.champion == "v3"


@story
def arm_that_breaks_a_guardrail_leaves_and_the_others_go_on(world: World) -> None:
    with_a_second_version(world)
    experimenting(
        world,
        weight=30,
        arms=[{"version": "v2", "weight": 30}],
        guardrails=[{"metric": "complaints", "margin": 0.01}],
    )
    world.models["v2"] = Model(gain=0.0, complaints=0.1)
    world.models["v3"] = Model(gain=0.06)
    alert(world)
    world.days(14)
    assert world.champion == "v3"


def learning(world: World, **bandit: object) -> None:
    """The file asks for a bandit and one canary."""
    step = {"window": "1d", "minUnits": 1000, "floor": 10, "deadline": "28d", **bandit}
    steps = [{"bandit": step}, {"canary": {"weight": 95, "minRequests": 100}}]
    world.edit_file(lambda spec: spec["rollout"].update(steps=steps))


@story
def bandit_learns_through_a_restart_and_promotes(world: World) -> None:
    """Labels come two days late, so the first weights move on the fourth day; the loop dies while it learns."""
    learning(world, minimumEffect=0.005)
    world.start()
    drift(world, gain=0.04)
    world.days(4)
    world.note("the loop is restarted")
    world.restart()
    world.days(18)


@story
def bandit_with_a_router_learns_through_a_restart_and_promotes(world: World) -> None:
    """Each request is drawn by what the router was told last; the loop dies between two things that it tells."""
    learning(world, per="Request")
    world.edit_file(routed)
    world.requests_per_day = 2000
    world.start()
    drift(world, gain=0.02)
    world.days(4)
    world.note("the loop is restarted")
    world.restart()
    world.days(24)
    assert world.champion == "v2"


def routed(spec: dict[str, Any]) -> None:
    """Requests go by a router in a graph of Seldon."""
    spec["serving"] = {"runtime": "Seldon", "traffic": {"provider": "Istio", "failures": "Bounded"}}


@story
def bandit_finds_that_a_runner_up_is_the_best(world: World) -> None:
    """Two are asked for; one can't be packaged and takes no part, the other wins against the choice."""
    learning(world, runnersUp=2)
    three_candidates(world)
    world.start()
    world.runners_up = (True,)
    world.left_out = {"few-trees": "InvalidDataError: its file is too large"}
    world.models["v3"] = Model(gain=0.08)
    drift(world, gain=0.0)
    world.days(20)
    assert world.champion == "v3"
    assert world.serving.starts[VersionName("v3")] == 1


@story
def bandit_keeps_a_champion_that_no_arm_beats(world: World) -> None:
    learning(world, deadline="10d", policy="EpsilonGreedy", epsilon=0.2)
    world.start()
    drift(world, gain=-0.02)
    world.days(12)


@story
def bandit_is_stopped_by_a_guardrail(world: World) -> None:
    learning(world)
    world.start()
    drift(world, gain=0.05, error_rate=0.2)
    world.days(3)


@story
def bandit_takes_an_arm_out_that_breaks_a_guardrail(world: World) -> None:
    """The arm with the best metric costs complaints; the champion has its share until the next batch."""
    with_a_second_version(world)
    learning(world, arms=["v2"], guardrails=[{"metric": "complaints", "margin": 0.01}], decide="Better")
    world.models["v2"] = Model(gain=0.08, complaints=0.2)
    world.models["v3"] = Model(gain=0.06)
    alert(world)
    world.days(20)
    assert world.champion == "v3"


def canary_beside_a_copy(world: World, **canary: object) -> None:
    """The file asks for one canary that is compared with a fresh copy of the champion."""
    step = {"weight": 20, "baseline": "FreshCopy", "minRequests": 200, "duration": "1d", **canary}
    world.edit_file(lambda spec: spec["rollout"].update(steps=[{"canary": step}]))


@story
def canary_beside_a_fresh_copy_is_promoted_and_the_copy_goes(world: World) -> None:
    canary_beside_a_copy(world)
    world.start()
    drift(world)
    assert world.serving.readiness().keys() == {"v1", "v1-copy", "v2"}
    world.days(3)
    assert world.champion == "v2"
    assert "v1-copy" not in world.serving.readiness()


@story
def copy_that_dies_is_missing_evidence_and_holds_the_canary(world: World) -> None:
    """Nothing ends the step while there is nothing to compare with; once the copy is back its requests count anew."""
    canary_beside_a_copy(world, minRequests=400)
    world.start()
    drift(world)
    world.days(1)
    world.note("the copy dies")
    world.serving.crash(VersionName("v1-copy"))
    for _ in range(4):
        world.minutes(3)
    world.days(4)
    assert world.champion == "v1"
    world.note("the copy is back")
    world.serving.recover(VersionName("v1-copy"))
    world.minutes(1)
    assert world.champion == "v1"
    world.days(3)
    assert world.champion == "v2"


@story
def aborted_canary_takes_its_fresh_copy_away(world: World) -> None:
    canary_beside_a_copy(world)
    world.start()
    drift(world, slowness=3.0)
    world.minutes(1)
    world.ask(Verb.ABORT)
    world.settle()
    world.minutes(1)
    assert world.serving.readiness().keys() == {"v1"}


@story
def batches_follow_each_other_through_a_failure_a_promotion_and_a_standstill(world: World) -> None:
    """Each row is in one batch: what failed goes on by whoever is champion, what was missed is in the next."""

    def daily(spec: dict[str, Any]) -> None:
        spec["batch"] = {"schedule": "0 3 * * *", "output": "predictions"}
        spec["rollout"]["steps"] = [{"canary": {"weight": 50, "duration": "1h", "minRequests": 1}}]

    world.edit_file(daily)
    world.start()
    world.days(2, step=timedelta(hours=2))
    world.note("the source is away")
    done = world.batch
    away = BatchStatus(RunPhase.FAILED, "flights.csv: there is no such file")
    world.batch = lambda _: Batch(away)
    world.days(1, step=timedelta(hours=2))
    world.ask(Verb.RETRAIN)
    world.days(0.25, step=timedelta(hours=2))
    assert world.champion == "v2"
    world.note("the source is back")
    world.batch = done
    world.days(0.25, step=timedelta(hours=2))
    world.note("nobody is there for three days")
    world.clock.advance(timedelta(days=3))
    world.days(1, step=timedelta(hours=2))
    world.note("the file asks for batches no more, while one is at work")
    world.days(0.8, step=timedelta(days=1))
    world.edit_file(lambda spec: spec.pop("batch"))
    world.settle()
    world.days(3)
    rows = list(dict.fromkeys(order.stretch for order in world.batches.started))
    assert [one.start for one in rows[1:]] == [one.end for one in rows[:-1]], "no gap and no overlap"
    assert len(world.batches._stopped) == 1

"""What follows from a rollout's state alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from capstan.domain.actions import DeployVersion, Plan, SetTraffic
from capstan.domain.digest import digest_of
from capstan.domain.moving_weights import MovedWeights
from capstan.domain.planners.looks import questions_of
from capstan.domain.planners.rollout import RolloutObservation, plan_rollout
from capstan.domain.reasons import Reason
from capstan.domain.rollout import (
    Limits,
    OnLimit,
    RolloutCause,
    RolloutName,
    RolloutPhase,
    RolloutPolicy,
    RolloutRequest,
    RolloutState,
    outlook,
    rollout_name,
    wanted_split,
)
from capstan.domain.steps import CanaryStep, InterleaveStep, PauseStep, ShadowStep
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.experiment import Outcome
from capstan.domain.steps.questions import Interleaving, Operation, Pairs, StepEvidence
from capstan.domain.steps.step import Span, step_span
from capstan.domain.system import Surroundings
from capstan.domain.traffic import ArmRewards, TrafficSplit, Untaken, Weight, champion_only
from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.evidence import (
    ArmDay,
    ArmsEvidence,
    ArmSums,
    LossBlock,
    OperationEvidence,
    PairedEvidence,
    VersionOperation,
)
from capstan.domain.verdicts.experiments import Better
from capstan.domain.verdicts.interleaving import Method
from capstan.domain.verdicts.preference import PreferenceCounts, PreferenceDay, PreferenceEvidence
from capstan.domain.verdicts.quality import Decide, QualityRule
from capstan.domain.versions import Digest, ModelVersion, Readiness, RunName, SystemName, VersionName
from capstan.ports.codec import from_json, to_json

NOW = datetime(2013, 6, 1, tzinfo=UTC)
V1, V2 = VersionName("v1"), VersionName("v2")
ALIKE = {0.01: 990, float("inf"): 1000}
OPERATION = OperationEvidence(VersionOperation(V1, 1000, 0, ALIKE), VersionOperation(V2, 1000, 0, ALIKE))
STEPS = (ShadowStep(Weight(100)), CanaryStep(Weight(25)), PauseStep())
POLICY = RolloutPolicy(STEPS, {"quality": QualityRule(Decide.UNLESS_WORSE)}, digest="d")


def in_shadow(paired: PairedEvidence) -> StepEvidence:
    return StepEvidence({Pairs("logLoss"): paired, Operation(mirrored=True): OPERATION})


def version(name: VersionName) -> ModelVersion:
    return ModelVersion(name, Digest("sha256:0"), RunName("run"), "flights:a", NOW)


REQUEST = RolloutRequest(
    RolloutName("flights-v2"), SystemName("flights"), RolloutCause.CHALLENGER, version(V2), version(V1)
)


def seen(v2: Readiness, split: TrafficSplit | None = None) -> RolloutObservation:
    here = Surroundings({V1: Readiness.READY, V2: v2}, split or champion_only(V1), {"champion": V1})
    return RolloutObservation(here, watched_since=NOW)


def state(phase: RolloutPhase, step: int = 0, **more: object) -> RolloutState:
    return RolloutState(
        phase,
        step,
        started_at=NOW,
        deploying_since=NOW,
        policy_digest="d",
        **more,  # type: ignore[arg-type]
    )


def test_a_rollout_has_one_name_for_one_pair_and_number() -> None:
    names = {rollout_name(SystemName("flights"), V1, V2, number) for number in (1, 1, 2)}
    assert len(names) == 2


def test_a_pause_keeps_the_traffic_of_the_step_before() -> None:
    canary, pause = (wanted_split(REQUEST, RolloutState.at_step(step), STEPS) for step in (1, 2))
    assert canary == pause
    assert canary is not None
    assert canary.weight_of(V2) == 25


def test_arms_keep_their_order_through_all_steps() -> None:
    for step in range(len(STEPS)):
        split = wanted_split(REQUEST, RolloutState.at_step(step), STEPS)
        assert split is not None
        assert split.champion == V1


def test_an_absent_challenger_is_deployed_and_gets_no_traffic() -> None:
    plan = plan_rollout(
        REQUEST, state(RolloutPhase.DEPLOYING), seen(Readiness.ABSENT), POLICY, now=NOW, wall=NOW
    )
    assert plan.actions == (DeployVersion(version(V2)),)


def test_a_starting_challenger_gets_no_traffic() -> None:
    plan = plan_rollout(
        REQUEST, state(RolloutPhase.DEPLOYING), seen(Readiness.STARTING), POLICY, now=NOW, wall=NOW
    )
    assert plan.actions == ()


def test_planning_twice_from_the_same_look_plans_the_same() -> None:
    plans = [
        plan_rollout(REQUEST, state(RolloutPhase.DEPLOYING), seen(Readiness.READY), POLICY, now=NOW, wall=NOW)
        for _ in range(2)
    ]
    assert plans[0] == plans[1]
    assert [action for action in plans[0].actions if isinstance(action, SetTraffic)]


def test_a_challenger_gets_its_whole_deadline_after_an_absence_of_the_loop() -> None:
    """FAULTS 4, 13."""
    later = NOW + timedelta(hours=5)
    here = seen(Readiness.STARTING).surroundings
    back = RolloutObservation(here, watched_since=later)
    waiting = plan_rollout(REQUEST, state(RolloutPhase.DEPLOYING), back, POLICY, now=NOW, wall=later)
    assert waiting.status.phase is RolloutPhase.DEPLOYING
    over = later + POLICY.progress_deadline
    aborted = plan_rollout(REQUEST, state(RolloutPhase.DEPLOYING), back, POLICY, now=NOW, wall=over)
    assert aborted.status.phase is RolloutPhase.ROLLING_BACK
    assert aborted.decisions[0].reason == "ProgressDeadlineExceeded"


def test_a_final_rollout_asks_for_nothing() -> None:
    for phase in (RolloutPhase.PROMOTED, RolloutPhase.ROLLED_BACK):
        plan = plan_rollout(REQUEST, state(phase), seen(Readiness.ABSENT), POLICY, now=NOW, wall=NOW)
        assert (plan.actions, plan.decisions) == ((), ())


def test_outlook_tells_rule_and_time_before_the_rollout_begins() -> None:
    policy = RolloutPolicy(
        steps=(
            ShadowStep(Weight(100), min_blocks=9, analyses=("quality",)),
            CanaryStep(Weight(25), duration=timedelta(days=2)),
            CanaryStep(Weight(50), duration=timedelta(days=3)),
        ),
        rules={"quality": QualityRule(Decide.UNLESS_WORSE)},
    )
    told = outlook(policy, datetime(2013, 3, 1, tzinfo=UTC))
    assert "quality is decided by UnlessWorse from 9 closed blocks on" in told
    assert "until 2013-03-15 00:00 UTC or longer" in told


def test_closed_blocks_that_a_shadow_waits_for_take_their_days_without_an_analysis_too() -> None:
    step = ShadowStep(Weight(100), min_blocks=3)
    policy = RolloutPolicy(steps=(step,), rules={}, label_delay=timedelta(days=5))
    assert step_span(policy, step) == Span(timedelta(days=3), timedelta(days=8))


def test_outlook_tells_the_soonest_end_and_the_one_by_late_labels_and_what_must_be_counted() -> None:
    policy = RolloutPolicy(
        steps=(
            ShadowStep(Weight(100), min_labels=500, min_requests=2000, analyses=("quality",)),
            CanaryStep(Weight(25), duration=timedelta(days=2)),
        ),
        rules={"quality": QualityRule(Decide.UNLESS_WORSE)},
        label_delay=timedelta(days=60),
    )
    assert step_span(policy, policy.steps[0]) == Span(timedelta(days=7), timedelta(days=67))
    assert step_span(policy, policy.steps[1]) == Span(timedelta(days=2), timedelta(days=2))
    told = outlook(policy, datetime(2013, 3, 1, tzinfo=UTC))
    assert "take until 2013-03-10 00:00 UTC, 2013-05-09 00:00 UTC if labels come as late as they may," in told
    assert "step 1 waits for 2,000 requests and 500 labelled pairs" in told
    assert "step 2 waits" not in told


def test_outlook_of_steps_that_count_requests_names_no_end_that_is_their_beginning() -> None:
    policy = RolloutPolicy(
        steps=(ShadowStep(Weight(100), min_labels=500, min_requests=500, analyses=("quality",)),),
        rules={"quality": QualityRule(Decide.UNLESS_WORSE)},
        label_delay=timedelta(days=3),
        block=timedelta(0),
    )
    told = outlook(policy, datetime(2013, 3, 1, tzinfo=UTC))
    assert (
        "its only step takes as long as its requests take to come, until 2013-03-04 00:00 UTC if labels come as late "
        "as they may, or longer; step 1 waits for 500 requests and 500 labelled pairs" in told
    )


def test_a_longer_label_delay_restarts_no_rollout() -> None:
    assert digest_of(replace(POLICY, label_delay=timedelta(days=60))) == digest_of(POLICY)


def test_outlook_says_that_a_person_is_waited_for() -> None:
    policy = RolloutPolicy(steps=(CanaryStep(Weight(10)), PauseStep()), rules={})
    assert "a person's approval" in outlook(policy, datetime(2013, 3, 1, tzinfo=UTC))


def test_looks_that_need_more_blocks_count_towards_no_limit_before_the_deadline() -> None:
    """An always-valid test is undecided at most looks; aborting at the sixth would never let NotWorse decide."""
    deadline = timedelta(days=60)
    policy = RolloutPolicy(
        (ShadowStep(Weight(100), analyses=("quality",), deadline=deadline),),
        {"quality": QualityRule(Decide.NOT_WORSE, metric="logLoss", margin=0.01)},
        limits=Limits(inconclusive=2, on_inconclusive=OnLimit.ABORT),
        digest="d",
    )
    at = state(RolloutPhase.PROGRESSING, step_since=NOW, step_since_wall=NOW)
    split = wanted_split(REQUEST, at, policy.steps)
    here = seen(Readiness.READY, split).surroundings
    noise = (0.3, -0.2, 0.1, -0.3, 0.2, -0.1, 0.15)
    blocks = tuple(LossBlock(NOW + timedelta(days=i), 1000, 1000 * noise[i % 7], 1.0) for i in range(14))
    paired = PairedEvidence(blocks, paired_requests=14_000, labelled_pairs=14_000)
    observation = RolloutObservation(
        here,
        watched_since=NOW,
        measured=in_shadow(paired),
    )
    held = []
    for look in range(10):
        now = NOW + timedelta(days=14 + look)
        at = plan_rollout(REQUEST, at, observation, policy, now=now, wall=NOW).status
        assert at.latest["quality"].outcome == Verdict.INCONCLUSIVE
        assert (at.phase, at.inconclusive) == (RolloutPhase.PROGRESSING, 0)
        held.append(at.held)
    assert {*held} == {"TooLittleEvidence"}
    at = plan_rollout(REQUEST, at, observation, policy, now=NOW + deadline, wall=NOW).status
    assert at.phase is RolloutPhase.ROLLING_BACK
    assert "deadline" in at.why


def test_a_shadow_that_takes_longer_than_its_blocks_is_told_once() -> None:
    """Labels that never come, or days that are alike: who reads the story alone saw nothing until the deadline."""
    policy = RolloutPolicy(
        (ShadowStep(Weight(100), analyses=("quality",)),),
        {"quality": QualityRule(Decide.UNLESS_WORSE, metric="logLoss")},
        digest="d",
        label_delay=timedelta(days=2),
    )
    at = state(RolloutPhase.PROGRESSING, step_since=NOW, step_since_wall=NOW)
    here = seen(Readiness.READY, wanted_split(REQUEST, at, policy.steps)).surroundings
    measured = in_shadow(PairedEvidence((), paired_requests=0, labelled_pairs=0))
    observation = RolloutObservation(here, watched_since=NOW, measured=measured)
    told = []
    for day in range(1, 14):
        plan = plan_rollout(REQUEST, at, observation, policy, now=NOW + timedelta(days=day), wall=NOW)
        told += [(day, decision.message) for decision in plan.decisions]
        at = plan.status
    assert [day for day, _ in told] == [10]
    assert told[0][1].startswith(
        "holding step 1 (shadow 100 %): quality: too early to judge: 0 of 7 closed blocks"
    )


def test_a_withheld_verdict_counts_once_per_closed_block_however_often_somebody_looks() -> None:
    """Live looks come every ten seconds: six of them would spend all patience within the first minute."""
    policy = RolloutPolicy(
        (ShadowStep(Weight(100), analyses=("quality",)),),
        {"quality": QualityRule(Decide.NOT_WORSE, metric="logLoss", margin=0.01)},
        limits=Limits(inconclusive=2, on_inconclusive=OnLimit.ABORT),
        digest="d",
    )
    at = state(RolloutPhase.PROGRESSING, step_since=NOW, step_since_wall=NOW)
    here = seen(Readiness.READY, wanted_split(REQUEST, at, policy.steps)).surroundings
    counted = []
    for day in (14, 15, 16):
        blocks = tuple(LossBlock(NOW + timedelta(days=i), 1000, 1.0, 0.1) for i in range(day))
        paired = PairedEvidence(blocks, paired_requests=day * 1000, labelled_pairs=day * 1000)
        observation = RolloutObservation(
            here,
            watched_since=NOW,
            measured=in_shadow(paired),
        )
        for look in range(10):
            now = NOW + timedelta(days=day, seconds=10 * look)
            at = plan_rollout(REQUEST, at, observation, policy, now=now, wall=NOW).status
        counted.append((at.inconclusive, at.phase))
    assert counted == [
        (1, RolloutPhase.PROGRESSING),
        (2, RolloutPhase.PROGRESSING),
        (3, RolloutPhase.ROLLING_BACK),
    ]
    assert "verdict withheld" in at.why


def days_like(differences: tuple[float, ...]) -> PairedEvidence:
    blocks = tuple(
        LossBlock(NOW + timedelta(days=day), 1000, 1000 * one, 1.0) for day, one in enumerate(differences)
    )
    return PairedEvidence(blocks, paired_requests=1000 * len(blocks), labelled_pairs=1000 * len(blocks))


LOOKING_WORSE = (-0.04, 0.01, -0.05, 0.0, -0.03, -0.06, 0.01, -0.04, 0.01, -0.05, 0.0, -0.03)
"""Worse by 0.02 in the mean with a deviation of 0.03: an ordinary t test says worse after the 7th day and later."""


def looked_daily(
    on_inconclusive: OnLimit, days: range, at: RolloutState, better: tuple[float, ...] = ()
) -> list[RolloutState]:
    """The state after each day of a shadow step without a deadline, looked at ten times a day."""
    policy = RolloutPolicy(
        (ShadowStep(Weight(100), analyses=("quality",)), PauseStep()),
        {"quality": QualityRule(Decide.UNLESS_WORSE, metric="logLoss")},
        limits=Limits(inconclusive=3, on_inconclusive=on_inconclusive),
        digest="d",
    )
    here = seen(Readiness.READY, wanted_split(REQUEST, at, policy.steps)).surroundings
    found = []
    for day in days:
        measured = in_shadow(days_like((LOOKING_WORSE + better)[:day]))
        observation = RolloutObservation(here, watched_since=NOW, measured=measured)
        for look in range(10):
            now = NOW + timedelta(days=day, seconds=10 * look)
            if at.step == 0:
                at = plan_rollout(REQUEST, at, observation, policy, now=now, wall=NOW).status
        found.append(at)
    return found


def test_a_challenger_that_looks_worse_is_held_after_so_many_days_and_goes_on_when_it_recovers() -> None:
    """Without a deadline it must not wait in silence; the always-valid test alone would promote it on the 7th day."""
    at = state(RolloutPhase.PROGRESSING, step_since=NOW, step_since_wall=NOW)
    daily = looked_daily(OnLimit.HOLD, range(7, 12), at)
    assert [one.inconclusive for one in daily] == [1, 2, 3, 4, 5]
    assert [one.held for one in daily] == ["", *["TooLittleEvidence"] * 2, *["Inconclusive"] * 2]
    assert {one.step for one in daily} == {0}
    better = (0.06, 0.05, 0.07, 0.06, 0.05, 0.06, 0.07)
    later = looked_daily(OnLimit.HOLD, range(12, 20), daily[-1], better)
    assert later[-1].step == 1


def test_a_challenger_that_looks_worse_is_rolled_back_where_the_limit_says_abort() -> None:
    at = state(RolloutPhase.PROGRESSING, step_since=NOW, step_since_wall=NOW)
    at = looked_daily(OnLimit.ABORT, range(7, 11), at)[-1]
    assert at.phase is RolloutPhase.ROLLING_BACK
    assert "looks worse by more than 0 logLoss, not yet shown" in at.why


def test_a_preference_that_looks_worse_waits_for_units_and_not_for_so_many_looks() -> None:
    step = InterleaveStep("click", Weight(100), decide=Decide.UNLESS_WORSE)
    policy = RolloutPolicy(
        (step,), {}, limits=Limits(inconclusive=2, on_inconclusive=OnLimit.ABORT), digest="d"
    )
    at = state(RolloutPhase.PROGRESSING, step_since=NOW, step_since_wall=NOW)
    here = seen(Readiness.READY, wanted_split(REQUEST, at, policy.steps)).surroundings
    clicks = PreferenceEvidence((PreferenceDay(NOW, PreferenceCounts(60, 76, 200)),))
    need = Interleaving(step.event, Method(step.method), step.window, step.maximum_delay)
    measured = StepEvidence({need: clicks, Operation(mirrored=True): OPERATION})
    observation = RolloutObservation(here, watched_since=NOW, measured=measured)
    for look in range(10):
        now = NOW + timedelta(days=1, seconds=10 * look)
        at = plan_rollout(REQUEST, at, observation, policy, now=now, wall=NOW).status
        assert "seem to prefer the champion" in at.latest["preference"].message
    assert (at.phase, at.inconclusive, at.held) == (RolloutPhase.PROGRESSING, 0, "")


def test_each_analysis_is_judged_on_the_loss_that_it_names() -> None:
    """Better by one metric and worse by the other: each verdict is that of its own pairs."""
    policy = RolloutPolicy(
        (ShadowStep(Weight(100), analyses=("sharp", "square")),),
        {
            "sharp": QualityRule(Decide.UNLESS_WORSE, metric="logLoss"),
            "square": QualityRule(Decide.UNLESS_WORSE, metric="brierScore"),
        },
        digest="d",
    )
    at = state(RolloutPhase.PROGRESSING, step_since=NOW, step_since_wall=NOW)
    here = seen(Readiness.READY, wanted_split(REQUEST, at, policy.steps)).surroundings

    def pairs(gain: float) -> PairedEvidence:
        blocks = tuple(
            LossBlock(NOW + timedelta(days=i), 1000, 1000 * (gain + 0.001 * (-1) ** i), 1.0)
            for i in range(14)
        )
        return PairedEvidence(blocks, paired_requests=14_000, labelled_pairs=14_000)

    measured = StepEvidence(
        {
            Pairs("logLoss"): pairs(0.1),
            Pairs("brierScore"): pairs(-0.1),
            Operation(mirrored=True): OPERATION,
        }
    )
    observation = RolloutObservation(here, watched_since=NOW, measured=measured)
    at = plan_rollout(REQUEST, at, observation, policy, now=NOW + timedelta(days=14), wall=NOW).status

    assert at.latest["sharp"].outcome == Verdict.SUCCESSFUL
    assert at.latest["square"].outcome == Verdict.FAILED


def test_an_analysis_without_pairs_of_its_metric_is_an_error_and_never_passes() -> None:
    policy = RolloutPolicy(
        (ShadowStep(Weight(100), analyses=("square",)),),
        {"square": QualityRule(Decide.UNLESS_WORSE, metric="brierScore")},
        digest="d",
    )
    at = state(RolloutPhase.PROGRESSING, step_since=NOW, step_since_wall=NOW)
    here = seen(Readiness.READY, wanted_split(REQUEST, at, policy.steps)).surroundings
    blocks = tuple(LossBlock(NOW + timedelta(days=i), 1000, 100.0, 1.0) for i in range(14))
    of_another = PairedEvidence(blocks, paired_requests=14_000, labelled_pairs=14_000)
    observation = RolloutObservation(
        here,
        watched_since=NOW,
        measured=in_shadow(of_another),
    )
    at = plan_rollout(REQUEST, at, observation, policy, now=NOW + timedelta(days=14), wall=NOW).status

    assert at.latest["square"].outcome == Verdict.ERROR
    assert at.phase is RolloutPhase.PROGRESSING


def test_what_a_router_is_told_is_no_other_traffic_and_what_it_forgot_no_change_by_hand() -> None:
    clicks = Outcome("clicks", Better.HIGHER, timedelta(0), timedelta(0), is_loss=False, is_share=True)
    step = BanditStep(clicks, by_request=True, batch=timedelta(minutes=1), min_units=5000)
    policy = RolloutPolicy((step,), {}, digest="d")
    at = state(RolloutPhase.PROGRESSING, step_since=NOW, step_since_wall=NOW)
    split = wanted_split(REQUEST, at, policy.steps)
    assert split is not None

    def sums(ones: int) -> ArmSums:
        return ArmSums(500, 500, 500, float(ones), float(ones), float(ones))

    day = ArmDay(NOW, {V1: sums(50), V2: sums(100)}, {V1: 50, V2: 50})
    (question,) = step.questions(policy, split, at)
    measured = StepEvidence({Operation(mirrored=False): OPERATION, question.need: ArmsEvidence((day,))})
    looked = replace(seen(Readiness.READY, split), measured=measured)
    later = NOW + timedelta(minutes=2)
    plan = plan_rollout(REQUEST, at, looked, policy, now=later, wall=later)
    told = wanted_split(REQUEST, plan.status, policy.steps)
    assert told is not None
    assert [one.count for one in told.routed] == [500, 500]
    assert SetTraffic(told) in plan.actions
    # Errors and latencies go on being counted since the beginning of the step.
    assert plan.status.step_since_wall == NOW
    forgot = plan_rollout(
        REQUEST, plan.status, seen(Readiness.READY, told.untold), policy, now=later, wall=later
    )
    assert SetTraffic(told) in forgot.actions
    assert (forgot.status.corrections, forgot.status.step_since_wall) == (0, NOW)
    by_hand = plan_rollout(
        REQUEST, plan.status, seen(Readiness.READY, champion_only(V1)), policy, now=later, wall=later
    )
    assert by_hand.status.corrections == 1
    # Arms answer users while a router does not: what protects them goes on.
    broken = replace(OPERATION, challenger=VersionOperation(V2, 1000, 500, ALIKE))
    failing = StepEvidence({Operation(mirrored=False): broken, question.need: ArmsEvidence((day,))})
    deaf = replace(seen(Readiness.READY, told.untold), measured=failing)
    ended = plan_rollout(REQUEST, plan.status, deaf, policy, now=later, wall=later)
    assert ended.status.phase is RolloutPhase.ROLLING_BACK


def test_a_router_that_never_gets_ready_ends_its_step_with_the_reason() -> None:
    clicks = Outcome("clicks", Better.HIGHER, timedelta(0), timedelta(0), is_loss=False, is_share=True)
    step = BanditStep(clicks, by_request=True)
    policy = RolloutPolicy((step,), {}, progress_deadline=timedelta(minutes=5), digest="d")
    at = state(RolloutPhase.PROGRESSING)
    wanted = wanted_split(REQUEST, at, policy.steps)
    assert wanted is not None
    here = replace(seen(Readiness.READY), untaken=Untaken(wanted, "the graph is not ready: no such image"))

    def planned(at: RolloutState, minutes: int, looked: RolloutObservation = here) -> Plan[RolloutState]:
        wall = NOW + timedelta(minutes=minutes)
        return plan_rollout(REQUEST, at, looked, policy, now=wall, wall=wall)

    waits = planned(planned(at, 0).status, 4)
    assert SetTraffic(wanted) in waits.actions
    assert waits.message == (
        "the gateway does not yet obey the step's split: the graph is not ready: no such image"
    )
    # After an absence of the loop it has its whole time.
    late = replace(here, watched_since=NOW + timedelta(minutes=4))
    assert planned(waits.status, 8, late).status.phase is RolloutPhase.PROGRESSING
    ended = planned(waits.status, 5)
    assert ended.status.phase is RolloutPhase.ROLLING_BACK
    assert ended.status.why == (
        "the router between v1, v2 did not get the requests within 0:05:00: the graph is not ready: no such image"
    )
    assert SetTraffic(champion_only(V1)) not in ended.actions, "nothing was routed"
    # One that came in time is waited for anew when it goes.
    begun = planned(waits.status, 4, seen(Readiness.READY, wanted)).status
    assert begun.step_since == NOW + timedelta(minutes=4)
    assert begun.routing_since is None


V3, V4 = VersionName("v3"), VersionName("v4")
OF_FOUR = replace(REQUEST, others=(version(V3), version(V4)))
ROUTED = RolloutPolicy(
    (
        BanditStep(
            Outcome("clicks", Better.HIGHER, timedelta(0), timedelta(0), is_loss=False, is_share=True),
            by_request=True,
            arms=(V3, V4),
        ),
    ),
    {},
    progress_deadline=timedelta(minutes=5),
    digest="d",
)
MOVED = (
    MovedWeights(
        {V1: 40, V2: 30, V3: 20, V4: 10},
        3,
        since=NOW,
        rewards=tuple(ArmRewards(name, 100, 10**6 * place) for place, name in enumerate((V1, V2, V3, V4), 1)),
    ),
)


def of_four(split: TrafficSplit | None, **dead: Readiness) -> RolloutObservation:
    readiness = {name: dead.get(name, Readiness.READY) for name in (V1, V2, V3, V4)}
    here = Surroundings(readiness, split, {"champion": V1})
    return RolloutObservation(here, watched_since=NOW)


@pytest.mark.parametrize("dead", [(V3,), (V3, V4)], ids=["one", "two at once"])
def test_arms_that_die_in_a_routers_graph_leave_it_and_nothing_else_changes(
    dead: tuple[VersionName, ...],
) -> None:
    at = state(RolloutPhase.PROGRESSING, step_since=NOW, step_since_wall=NOW, moves=MOVED)
    flowing = wanted_split(OF_FOUR, at, ROUTED.steps)

    def planned(at: RolloutState, looked: RolloutObservation) -> Plan[RolloutState]:
        # As the next process of the loop reads it.
        at = from_json(RolloutState, to_json(at))
        return plan_rollout(OF_FOUR, at, looked, ROUTED, now=NOW, wall=NOW)

    plan = planned(at, of_four(flowing, **dict.fromkeys(dead, Readiness.CRASHED)))
    assert [one.reason for one in plan.decisions] == [Reason.ARM_LEFT] * len(dead)
    assert "v1 answers all users until the router's graph is made without it" in plan.decisions[0].message
    wanted = wanted_split(OF_FOUR, plan.status, ROUTED.steps)
    assert wanted is not None
    assert SetTraffic(wanted) in plan.actions
    alive = [name for name in (V1, V2, V3, V4) if name not in dead]
    assert [one.version for one in wanted.routed] == alive
    told = {one.version: one for one in MOVED[0].rewards}
    assert wanted.routed == tuple(told[name] for name in alive)
    # While it is made the champion has all requests; what then dies again is no arm any more.
    for looked in (champion_only(V1), champion_only(V1), wanted):
        plan = planned(plan.status, of_four(looked, **dict.fromkeys(dead, Readiness.CRASHED)))
        assert plan.decisions == ()
    assert (plan.status.phase, plan.status.step_since) == (RolloutPhase.PROGRESSING, NOW)
    assert (plan.status.crashes, plan.status.corrections, plan.status.routing_since) == (0, 0, None)
    assert plan.status.moves[0].weights == MOVED[0].weights
    # The challenger is the rollout's: it alone is lost, and the step begins anew.
    lost = planned(plan.status, of_four(wanted, v2=Readiness.CRASHED))
    assert [one.reason for one in lost.decisions] == [Reason.CHALLENGER_LOST]
    assert SetTraffic(champion_only(V1)) in lost.actions


def test_further_arms_that_keep_a_graph_from_getting_ready_leave_and_the_rest_has_its_whole_time() -> None:
    at = state(RolloutPhase.PROGRESSING)
    wanted = wanted_split(OF_FOUR, at, ROUTED.steps)
    assert wanted is not None

    def planned(at: RolloutState, minutes: int, *unready: VersionName) -> Plan[RolloutState]:
        asked = wanted_split(OF_FOUR, at, ROUTED.steps)
        assert asked is not None
        looked = replace(
            of_four(champion_only(V1)), untaken=Untaken(asked, "v3 ends with 1", frozenset(unready))
        )
        wall = NOW + timedelta(minutes=minutes)
        return plan_rollout(OF_FOUR, at, looked, ROUTED, now=wall, wall=wall)

    waits = planned(planned(at, 0, V3).status, 4, V3)
    assert waits.decisions == ()
    left = planned(waits.status, 5, V3)
    [told] = left.decisions
    assert told.reason is Reason.ARM_LEFT
    assert told.message == (
        "v3 takes no part: it was not ready in the router's graph within 0:05:00: v3 ends with 1"
    )
    assert planned(left.status, 9, V4).status.phase is RolloutPhase.PROGRESSING
    # Where it is the challenger, or nobody knows who it is, the rollout ends.
    for unready in ((V2, V4), ()):
        again = planned(left.status, 5, *unready).status
        assert planned(again, 10, *unready).status.phase is RolloutPhase.ROLLING_BACK


def test_a_promotion_leaves_a_router_that_dies_before_it_has_the_requests() -> None:
    """All versions beside a dead router count as not ready, though the challenger stands alone as it did."""
    clicks = Outcome("clicks", Better.HIGHER, timedelta(0), timedelta(0), is_loss=False, is_share=True)
    policy = RolloutPolicy((BanditStep(clicks, by_request=True),), {}, digest="d")
    routed = wanted_split(REQUEST, state(RolloutPhase.PROGRESSING), policy.steps)
    promoting, dead = state(RolloutPhase.PROMOTING), seen(Readiness.STARTING, routed)
    plan = plan_rollout(REQUEST, promoting, dead, policy, now=NOW, wall=NOW)
    assert plan.actions == (SetTraffic(champion_only(V2)),)
    plan = plan_rollout(REQUEST, promoting, seen(Readiness.STARTING), policy, now=NOW, wall=NOW)
    assert plan.actions == ()


def test_a_gateway_without_a_router_has_no_such_deadline_and_says_why_it_waits() -> None:
    at = state(RolloutPhase.PROGRESSING, 1)
    wanted = wanted_split(REQUEST, at, POLICY.steps)
    assert wanted is not None
    for untaken, told in ((wanted, ": v2 has no address"), (champion_only(V1), "")):
        looked = replace(seen(Readiness.READY), untaken=Untaken(untaken, "v2 has no address"))
        late = NOW + timedelta(days=1)
        plan = plan_rollout(REQUEST, at, looked, POLICY, now=late, wall=late)
        assert plan.status.phase is RolloutPhase.PROGRESSING
        assert plan.message == f"the gateway does not yet obey the step's split{told}"


def test_the_shares_of_a_router_are_tested_by_the_step_itself_and_not_against_the_gateways_counters() -> None:
    clicks = Outcome("clicks", Better.HIGHER, timedelta(0), timedelta(0), is_loss=False, is_share=True)
    at = state(RolloutPhase.PROGRESSING, step_since=NOW, step_since_wall=NOW)
    names = {
        by_request: {
            one.name
            for one in questions_of(
                REQUEST, at, RolloutPolicy((BanditStep(clicks, by_request=by_request),), {})
            )
        }
        for by_request in (False, True)
    }
    assert names == {False: {"operation", "split", "bandit"}, True: {"operation", "bandit"}}

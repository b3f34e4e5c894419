"""A bandit on the page: its weights over time, and the regret, with evidence and without."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from capstan.dashboard.bandit_panel import bandit_shown
from capstan.dashboard.page import BanditShown
from capstan.domain.moving_weights import MovedWeights
from capstan.domain.online_steps import online_steps
from capstan.domain.rollout import (
    RolloutCause,
    RolloutName,
    RolloutPhase,
    RolloutPolicy,
    RolloutRequest,
    RolloutState,
    StepSpan,
)
from capstan.domain.steps import CanaryStep
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.experiment import Outcome
from capstan.domain.steps.questions import Arms
from capstan.domain.traffic import Arm, TrafficSplit, Weight
from capstan.domain.verdicts.evidence import ArmDay, ArmsEvidence, ArmSums
from capstan.domain.verdicts.experiments import Better
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName

START = datetime(2013, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
V1, V2 = VersionName("v1"), VersionName("v2")
COMPLAINTS = Outcome("complaints", Better.LOWER, DAY, timedelta(0), is_loss=False, is_share=True)
STEP = BanditStep(COMPLAINTS)
POLICY = RolloutPolicy((STEP, CanaryStep(Weight(95))), {}, digest="d")
MOVES = (
    MovedWeights({V1: 50, V2: 50}, since=START, until=START + DAY),
    MovedWeights(
        {V1: 10, V2: 90},
        1,
        since=START + DAY,
        assigned={V1: 500, V2: 500},
        means={V1: 120_000, V2: 80_000},
    ),
)


def version(name: VersionName) -> ModelVersion:
    return ModelVersion(name, Digest("sha256:" + "0" * 64), RunName("r"), "b:1", START)


REQUEST = RolloutRequest(
    RolloutName("r1"), SystemName("s"), RolloutCause.CHALLENGER, version(V2), version(V1)
)


def panel(state: RolloutState, evidence: ArmsEvidence | None = None) -> BanditShown | None:
    steps = online_steps(REQUEST, state, POLICY, now=START + 3 * DAY)
    if not steps:
        return None
    known = {need: evidence for need in steps[-1].needs if isinstance(need, Arms) and evidence is not None}
    return bandit_shown(steps[-1], STEP, known)


def running(moves: tuple[MovedWeights, ...] = MOVES, digest: str = "d") -> RolloutState:
    return RolloutState(RolloutPhase.PROGRESSING, policy_digest=digest, moves=moves, step_since=START)


def sums(count: int, ones: float) -> ArmSums:
    return ArmSums(count, count, count, ones, ones, ones)


def test_a_running_bandit_shows_its_weights_and_what_it_has_lost() -> None:
    found = panel(running())
    assert found is not None
    assert (found.policy, found.is_running) == ("Thompson", True)
    assert [move.weights for move in found.moves] == [{"v1": 50, "v2": 50}, {"v1": 10, "v2": 90}]
    # Fewer complaints are better: 500 units met the arm with 0.04 more of them.
    last = found.regret[-1]
    assert last.units == 1000
    assert abs(last.bandit - 20) < 1e-9
    assert abs(last.even - 20) < 1e-9


def test_with_evidence_regret_is_told_until_now_and_falls_behind_that_of_equal_shares() -> None:
    days = (
        ArmDay(START, {V1: sums(500, 60.0), V2: sums(500, 40.0)}),
        ArmDay(START + DAY, {V1: sums(100, 12.0), V2: sums(900, 72.0)}),
    )
    found = panel(running(), ArmsEvidence(days))
    assert found is not None
    assert [(point.at, point.units) for point in found.regret] == [
        (START, 0),
        (START + DAY, 1000),
        (START + 3 * DAY, 2000),
    ]
    assert abs(found.regret[-1].bandit - 24) < 1e-9
    assert abs(found.regret[-1].even - 40) < 1e-9
    assert [arm.assigned for arm in found.arms] == [600, 1400]
    assert found.arms[1].difference is not None
    assert abs(found.arms[1].difference - 0.04) < 1e-9
    assert found.ratio is not None
    assert found.ratio.outcome == "Successful"


def test_guardrails_are_told_by_arm_and_by_the_shares_that_moved() -> None:
    """Both arms cause more refunds on the second day, which is mostly v2's: plain means would say 0.088."""
    refunds = Outcome("refunds", Better.LOWER, DAY, timedelta(0), is_loss=False, margin=0.01)
    step = replace(STEP, guarded=(refunds,))
    (online,) = online_steps(REQUEST, running(), replace(POLICY, steps=(step,)), now=START + 3 * DAY)
    decides, guards = online.needs
    assert isinstance(decides, Arms)
    assert isinstance(guards, Arms)
    days = (
        ArmDay(START, {V1: sums(500, 10.0), V2: sums(500, 30.0)}),
        ArmDay(START + DAY, {V1: sums(100, 12.0), V2: sums(900, 144.0)}),
    )
    found = bandit_shown(online, step, {guards: ArmsEvidence(days)})
    assert found.arms == (), "what decides is not known"
    (other,) = found.others
    assert (other.metric, other.purpose, other.better) == ("refunds", "guardrail", "Lower")
    champion, challenger = other.arms
    assert (champion.version, champion.units, champion.difference) == ("v1", 600, None)
    assert (champion.mean, challenger.mean) == pytest.approx((0.07, 0.11))
    assert challenger.difference == pytest.approx(-0.04)
    assert bandit_shown(online, step, {}).others == []


def test_a_bandit_that_is_over_keeps_its_weights_on_the_page() -> None:
    split = TrafficSplit((Arm(V1, Weight(10)), Arm(V2, Weight(90))))
    spans = (StepSpan(0, START, START + 2 * DAY, MOVES, split),)
    found = panel(RolloutState(RolloutPhase.PROGRESSING, 1, policy_digest="d", spans=spans, step_since=START))
    assert found is not None
    assert (found.is_running, found.until, len(found.moves)) == (False, START + 2 * DAY, 2)


def test_before_the_first_move_no_regret_is_told() -> None:
    found = panel(running(MOVES[:1]))
    assert found is not None
    assert found.regret == []


def test_other_steps_and_other_files_show_no_bandit() -> None:
    assert panel(RolloutState(RolloutPhase.PROGRESSING, 1, policy_digest="d", step_since=START)) is None
    assert panel(running(digest="old")) is None


def test_a_bandit_by_requests_is_told_by_the_shares_of_each_and_a_point_of_regret_by_stretch() -> None:
    step = replace(STEP, by_request=True)
    (online,) = online_steps(REQUEST, running(), replace(POLICY, steps=(step,)), now=START + 3 * DAY)
    (need,) = online.needs
    assert isinstance(need, Arms)
    halves, fewer = {V1: 50, V2: 50}, {V1: 10, V2: 90}
    days = (
        ArmDay(START, {V1: sums(500, 60.0), V2: sums(500, 40.0)}, halves),
        ArmDay(START + DAY, {V1: sums(200, 24.0), V2: sums(200, 16.0)}, halves),
        ArmDay(START + DAY, {V1: sums(60, 7.2), V2: sums(540, 43.2)}, fewer),
    )
    found = bandit_shown(online, step, {need: ArmsEvidence(days)})
    assert [arm.mean for arm in found.arms] == pytest.approx([0.12, 0.08])
    assert [(point.at, point.units) for point in found.regret] == [
        (START, 0),
        (START + DAY, 1000),
        (START + 3 * DAY, 2000),
    ]
    assert found.ratio is not None
    assert found.ratio.outcome == "Successful"

"""An experiment on the page: units of each arm, and the confidence sequence by day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from capstan.dashboard.experiment_panel import experiment_shown
from capstan.dashboard.page import ExperimentShown
from capstan.domain.online_steps import OnlineStep
from capstan.domain.rollout import RolloutPolicy, RolloutState
from capstan.domain.steps.experiment import ExperimentStep, Outcome
from capstan.domain.steps.questions import Arms
from capstan.domain.traffic import Arm, TrafficSplit, Weight
from capstan.domain.verdicts.evidence import ArmDay, ArmsEvidence, ArmSums, RankSums
from capstan.domain.verdicts.experiments import Better, Test
from capstan.domain.versions import VersionName

START = datetime(2013, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
V1, V2 = VersionName("v1"), VersionName("v2")
CLICKS = Outcome("clicks", Better.HIGHER, DAY, timedelta(0), is_loss=False, is_share=True)


def day(number: int, first: int, second: int) -> ArmDay:
    arms = {
        version: ArmSums(500, 500, 500, float(clicks), float(clicks), float(clicks))
        for version, clicks in ((V1, first), (V2, second))
    }
    return ArmDay(START + number * DAY, arms)


def shown(evidence: ArmsEvidence, test: Test = Test.ALWAYS_VALID) -> ExperimentShown:
    step = ExperimentStep(Weight(50), CLICKS, test=test)
    split = TrafficSplit((Arm(V1, Weight(50)), Arm(V2, Weight(50))))
    asked = step.questions(RolloutPolicy((step,), {}), split, RolloutState())
    until = START + len(evidence.days) * DAY
    online = OnlineStep(1, step, split, START, until, True, {}, (), asked)
    need = Arms("clicks", (V1, V2), DAY, by_rank=test is Test.MANN_WHITNEY)
    found = experiment_shown(online, step, {need: evidence})
    assert found is not None
    return found


def test_each_arm_has_its_units_and_the_challenger_a_sequence_that_gets_narrower() -> None:
    days = (day(0, 50, 70), day(1, 50, 75), day(2, 50, 80))
    found = shown(ArmsEvidence(days, crossed=3))
    champion, challenger = found.arms
    assert (champion.assigned, champion.units, champion.mean, champion.series) == (1500, 1500, 0.1, ())
    assert challenger.difference is not None
    assert abs(challenger.difference - 0.05) < 1e-12
    assert [point.units for point in challenger.series] == [1000, 2000, 3000]
    widths = [point.upper - point.lower for point in challenger.series if point.upper and point.lower]
    assert widths == sorted(widths, reverse=True)
    assert challenger.series[-1].difference == challenger.difference
    assert found.crossed == 3
    assert found.rule == "Better by AlwaysValid at 0.05 at any look"


def test_ranks_are_drawn_for_all_days_together_and_not_where_none_are_known() -> None:
    days = (day(0, 50, 70), day(1, 50, 75))
    ranks = RankSums(1000, 1000, 1_045_000, 0, 0.01, 0.01)
    found = shown(ArmsEvidence(days, ranks={V2: ranks}), Test.MANN_WHITNEY)
    assert [point.difference for point in found.arms[1].series] == [found.arms[1].difference]
    assert found.arms[1].difference is not None
    assert abs(found.arms[1].difference - 0.0225) < 1e-12
    unknown = shown(ArmsEvidence(days, too_many_values=True), Test.MANN_WHITNEY).arms[1]
    assert (unknown.difference, unknown.series) == (None, [])


def test_without_outcomes_nothing_is_drawn() -> None:
    waiting = ArmDay(START, {V1: ArmSums(assigned=40), V2: ArmSums(assigned=44)})
    found = shown(ArmsEvidence((waiting,)))
    assert [arm.assigned for arm in found.arms] == [40, 44]
    assert all(arm.mean is None and arm.difference is None and not arm.series for arm in found.arms)

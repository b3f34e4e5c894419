"""How long an experiment takes is told from the units that came before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from capstan.domain.steps.experiment import ExperimentStep, Outcome
from capstan.domain.traffic import Arm, Weight
from capstan.domain.verdicts.evidence import ArmDay, ArmsEvidence, ArmSums
from capstan.domain.verdicts.experiments import Better
from capstan.domain.verdicts.quality import Decide
from capstan.domain.verdicts.unit_history import UnitHistory, read_units
from capstan.domain.versions import VersionName

V1 = VersionName("v1")
DAY = timedelta(days=1)
HALF = Weight(50)
CLICKS = Outcome("clicks", Better.HIGHER, DAY, timedelta(0), is_loss=False, is_share=True)
LOSS = Outcome("logLoss", Better.LOWER, DAY, 2 * DAY, is_loss=True)


def day(number: int, units: int, clicks: int) -> ArmDay:
    start = datetime(2013, 6, 1, tzinfo=UTC) + number * DAY
    return ArmDay(start, {V1: ArmSums(units, units, units, float(clicks), float(clicks), float(clicks))})


def test_history_is_the_champions_units_by_day() -> None:
    found = read_units(ArmsEvidence((day(0, 100, 10), day(1, 300, 30))), V1)
    assert found is not None
    assert (found.days, found.units_per_day, found.mean) == (2, 200, 0.1)
    assert found.variance == pytest.approx(0.09, rel=0.01)


@pytest.mark.parametrize("days", [(), (day(0, 500, 50),), (day(0, 10, 1), day(1, 10, 1))])
def test_too_little_history_tells_nothing(days: tuple[ArmDay, ...]) -> None:
    assert read_units(ArmsEvidence(days), V1) is None


SHARES = UnitHistory(28, 1000, 0.1, 0.09)


def test_an_effect_that_is_named_has_its_units_and_days() -> None:
    found = ExperimentStep(HALF, CLICKS, expected_effect=0.03).forecast(SHARES)
    assert found.median is not None
    assert found.late is not None
    assert found.median < found.late
    # A test of one look needs 1,770 in each arm; the one that may be looked at all the time about 1.65 times as many.
    assert 5 * DAY <= found.late <= 8 * DAY
    assert "a distance of 0.03 in clicks is found with a power of 80 %" in found.message
    assert "1,000 new units a day with a mean clicks of 0.1 over the last 28 days" in found.message


def test_a_deadline_that_is_too_short_for_the_effect_has_ways_out() -> None:
    hurried = ExperimentStep(HALF, CLICKS, expected_effect=0.01, deadline=7 * DAY)
    problem = hurried.forecast(SHARES).problem
    assert problem is not None
    assert problem.startswith("7d cannot be met: to find an effect of +0.01 with a power of 80%")
    assert "ways out: look for an effect of +" in problem
    assert (
        ExperimentStep(HALF, CLICKS, expected_effect=0.04, deadline=28 * DAY).forecast(SHARES).problem is None
    )


def test_without_an_effect_what_can_be_found_by_the_deadline_is_told() -> None:
    told = ExperimentStep(HALF, CLICKS, deadline=14 * DAY).forecast(SHARES)
    assert told.problem is None
    assert told.message.startswith("by its deadline it finds an effect of 0.0196 in clicks")
    assert "name an expectedEffect" in ExperimentStep(HALF, CLICKS).forecast(SHARES).message


def test_more_arms_take_longer_and_a_margin_shortens() -> None:
    history = UnitHistory(28, 1000, 0.5, 0.16)
    plain = ExperimentStep(Weight(30), LOSS, expected_effect=0.05)
    several = ExperimentStep(
        Weight(30), LOSS, expected_effect=0.05, arms=(Arm(VersionName("v3"), Weight(30)),)
    )
    lenient = ExperimentStep(Weight(30), LOSS, decide=Decide.NOT_WORSE, margin=0.05, expected_effect=0.05)
    late = [step.forecast(history).late for step in (lenient, plain, several)]
    assert None not in late
    assert late == sorted(late)  # type: ignore[type-var]
    assert len(set(late)) == 3


def test_unless_worse_waits_for_its_units_alone() -> None:
    found = ExperimentStep(HALF, LOSS, decide=Decide.UNLESS_WORSE, min_units=2000).forecast(
        UnitHistory(28, 1000, 0.5, 0.16)
    )
    assert found.late == 5 * DAY

"""An experiment whose units, covariate or outcomes cannot be trusted is frozen, and says why."""

from __future__ import annotations

import math

import numpy as np
import pytest

from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.experiments import ArmMoments
from capstan.domain.verdicts.sample_ratio import freeze_on_mismatch, judge_sample_ratio
from capstan.domain.verdicts.validity import judge_covariate, judge_crossing, judge_outcomes

WON = AnalysisResult(Verdict.SUCCESSFUL, "ShownBetter", "better", latch=Latch(Verdict.SUCCESSFUL, 9))
HOLDS = judge_sample_ratio({"v1": 500, "v2": 500}, {"v1": 1, "v2": 1})


def moments(mean: float, units: int = 1000, variance: float = 1.0) -> ArmMoments:
    return ArmMoments(units, mean, variance)


def failed(result: AnalysisResult | None) -> AnalysisResult:
    assert result is not None
    assert result.verdict is Verdict.FAILED
    return result


def test_one_unit_in_a_hundred_may_meet_two_arms_and_no_more() -> None:
    assert judge_crossing(10, 1000) is None
    assert judge_crossing(0, 0) is None
    found = failed(judge_crossing(11, 1000))
    assert found.reason == "CrossedUnits"
    assert "11 of 1,000 units (1.1%)" in found.message


def test_covariate_that_differs_was_not_known_before_assignment() -> None:
    alike = {"v1": moments(10.0), "v2": moments(10.05), "v3": moments(9.95)}
    assert judge_covariate(alike, control="v1", planned_units=2000) is None
    found = failed(judge_covariate(alike | {"v3": moments(10.4)}, control="v1", planned_units=2000))
    assert found.reason == "CovariateDiffers"
    assert "10.4 in v3 and 10 in v1 (t-mixture at 0.0005)" in found.message
    assert found.numbers["log_e"] > -math.log(0.0005)


@pytest.mark.parametrize(
    "other", [moments(9.0, units=1), moments(9.0, variance=0.0)], ids=["one unit", "constant"]
)
def test_covariate_of_too_few_or_equal_values_alarms_nobody(other: ArmMoments) -> None:
    constant = moments(10.0, variance=0.0)
    assert judge_covariate({"v1": constant, "v2": other}, control="v1", planned_units=2000) is None


def test_covariate_alarms_falsely_at_no_look_more_than_once_in_a_thousand() -> None:
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(200):
        drawn = rng.normal(5, 2, (2, 3000))
        for until in range(100, 3001, 100):
            arms = {
                arm: ArmMoments(until, float(one[:until].mean()), float(one[:until].var(ddof=1)))
                for arm, one in zip(("v1", "v2"), drawn, strict=True)
            }
            if judge_covariate(arms, control="v1", planned_units=2000) is not None:
                alarms += 1
                break
    assert alarms <= 1


def test_outcomes_must_be_missing_alike_in_all_arms() -> None:
    assigned = {"v1": 10_000, "v2": 5_000}
    assert judge_outcomes({"v1": 8000, "v2": 4010}, assigned, metric="revenue") is None
    found = failed(judge_outcomes({"v1": 9500, "v2": 4000}, assigned, metric="revenue"))
    assert found.reason == "OutcomesMissing"
    assert found.message.startswith(
        "arms lack outcomes of revenue unevenly: of the units with an outcome v1 got 9,500"
    )


def test_arm_that_nobody_was_assigned_to_lacks_no_outcomes() -> None:
    assert judge_outcomes({}, {"v1": 0, "v2": 0}, metric="revenue") is None


def test_the_first_check_that_fails_freezes_the_verdict_and_names_its_reason() -> None:
    crossing = judge_crossing(50, 1000)
    frozen = freeze_on_mismatch(WON, HOLDS, None, crossing, judge_crossing(90, 1000))
    assert (frozen.verdict, frozen.reason) == (Verdict.INCONCLUSIVE, "CrossedUnits")
    assert frozen.message.startswith("verdict frozen, the experiment is invalid: 50 of 1,000 units")
    assert frozen.latch == WON.latch
    assert freeze_on_mismatch(WON, HOLDS, None) == WON

"""Effects of arms, held against scipy and the literature's numbers, and the sentence of a comparison."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.blocks import sum_blocks
from capstan.domain.verdicts.confidence import log_bayes_factor, two_sided_radius
from capstan.domain.verdicts.evidence import LossBlock
from capstan.domain.verdicts.experiments import (
    ArmMoments,
    Better,
    Effect,
    ExperimentRule,
    Test,
    always_valid,
    always_valid_of_blocks,
    holm,
    judge_effect,
    proportions,
    welch,
    wilson,
)
from capstan.domain.verdicts.skewness import LARGEST_SKEWNESS, difference_skewness, units_until_gaussian

RNG = np.random.default_rng(5)
CONTROL = RNG.normal(10, 2, 137)
TREATMENT = RNG.normal(10.4, 3, 61)


def moments(values: np.ndarray) -> ArmMoments:
    return ArmMoments(len(values), float(values.mean()), float(values.var(ddof=1)))


def test_welch_is_scipys() -> None:
    found = welch(moments(CONTROL), moments(TREATMENT), alpha=0.03)
    wanted = stats.ttest_ind(TREATMENT, CONTROL, equal_var=False)
    interval = wanted.confidence_interval(0.97)
    assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-9)
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.log_e is None


@pytest.mark.parametrize(
    ("ones", "units", "others", "more"), [(50, 1000, 81, 1100), (3, 40, 9, 45), (0, 30, 4, 30)]
)
def test_proportions_are_the_pooled_test_of_scipy(ones: int, units: int, others: int, more: int) -> None:
    control = ArmMoments(units, ones / units, 0.0)
    arm = ArmMoments(more, others / more, 0.0)
    found = proportions(control, arm, alpha=0.05)
    table = [[ones, units - ones], [others, more - others]]
    assert found.p_value == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=1e-9)
    low_0, high_0 = stats.binomtest(ones, units).proportion_ci(0.95, method="wilson")
    low_1, high_1 = stats.binomtest(others, more).proportion_ci(0.95, method="wilson")
    assert wilson(control.mean, units, alpha=0.05) == pytest.approx((low_0, high_0), rel=1e-9, abs=1e-12)
    difference = arm.mean - control.mean
    assert found.lower == pytest.approx(
        difference - math.hypot(arm.mean - low_1, high_0 - control.mean), rel=1e-9
    )
    assert found.upper == pytest.approx(
        difference + math.hypot(high_1 - arm.mean, control.mean - low_0), rel=1e-9
    )


def test_newcombes_interval_is_that_of_his_paper() -> None:
    """Newcombe (1998), table II, method 10, example (a): 56/70 - 48/80 is [0.0524, 0.3339]."""
    found = proportions(ArmMoments(80, 48 / 80, 0.0), ArmMoments(70, 56 / 70, 0.0), alpha=0.05)
    assert (found.lower, found.upper) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_always_valid_interval_and_e_value_are_those_of_the_pooled_variance() -> None:
    control, arm = moments(CONTROL), moments(TREATMENT)
    units = control.units + arm.units
    found = always_valid(control, arm, alpha=0.05, planned_units=200)
    pooled = units * (arm.variance / arm.units + control.variance / control.units)
    radius = two_sided_radius(units, planned_units=200, alpha=0.05) * math.sqrt(pooled)
    assert (found.lower, found.upper) == pytest.approx(
        (found.difference - radius, found.difference + radius), rel=1e-12
    )
    t = math.sqrt(units) * found.difference / math.sqrt(pooled)
    assert found.log_e == pytest.approx(log_bayes_factor(units, t, planned_units=200, alpha=0.05), rel=1e-12)


def test_always_valid_gives_the_golden_values() -> None:
    """s = 1, n = t* = 14, mean 0.8: radius 0.960398, ln B 2.05477; two arms of 7 with half the pooled variance each."""
    control, arm = ArmMoments(7, 0.0, 0.25), ArmMoments(7, 0.8, 0.25)
    found = always_valid(control, arm, alpha=0.05, planned_units=14)
    assert found.upper - found.difference == pytest.approx(0.960398, abs=1e-6)
    assert found.log_e == pytest.approx(2.05477, abs=1e-5)


@pytest.mark.parametrize("difference", [0.0, 0.05, 0.1, 0.125, 0.15, 0.3])
def test_interval_leaves_out_zero_exactly_where_the_e_value_rejects(difference: float) -> None:
    control, arm = ArmMoments(3000, 1.0, 1.0), ArmMoments(1000, 1.0 + difference, 4.0)
    found = always_valid(control, arm, alpha=0.05, planned_units=5000)
    assert (found.lower > 0) is (found.log_e is not None and found.log_e > math.log(1 / 0.05))


def test_values_that_do_not_vary_show_nothing() -> None:
    for found in (
        always_valid(ArmMoments(900, 1.0, 0.0), ArmMoments(900, 2.0, 0.0), alpha=0.05, planned_units=100),
        welch(ArmMoments(900, 1.0, 0.0), ArmMoments(900, 2.0, 0.0), alpha=0.05),
    ):
        assert (found.p_value, found.lower, found.upper) == (1.0, -math.inf, math.inf)


def test_blocks_that_all_say_the_same_show_nothing() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    blocks = [LossBlock(start + timedelta(days=day), 100, 50.0, 1.0) for day in range(9)]
    found = always_valid_of_blocks(sum_blocks(blocks), alpha=0.05, planned_blocks=14)
    assert (found.difference, found.p_value, found.lower) == (0.5, 1.0, -math.inf)


def test_holm_is_the_step_down_of_his_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_sentence_says_rule_interval_and_what_it_may_have_missed() -> None:
    rule = ExperimentRule(test=Test.WELCH, comparisons=2)
    effect = Effect(0.3, -0.1, 0.7, 0.2)
    result = judge_effect(effect, rule, what="treatment less control of revenue", adjusted=0.4, units=900)
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "NotDecided")
    assert result.message == (
        "treatment less control of revenue: not decided by Welch at 0.05 at one look, which was fixed beforehand, "
        "Holm over 2 comparisons; difference +0.3, 97.5% interval [-0.1, +0.7], p 0.2 (Higher is better); it may have "
        "missed any true difference between -0.1 and +0.7"
    )


@pytest.mark.parametrize(
    ("difference", "better", "verdict"),
    [
        (0.3, Better.HIGHER, Verdict.SUCCESSFUL),
        (0.3, Better.LOWER, Verdict.FAILED),
        (-0.3, Better.HIGHER, Verdict.FAILED),
        (-0.3, Better.LOWER, Verdict.SUCCESSFUL),
    ],
)
def test_better_says_which_side_wins(difference: float, better: Better, verdict: Verdict) -> None:
    effect = Effect(difference, difference - 0.1, difference + 0.1, 1e-6, 14.0)
    result = judge_effect(effect, ExperimentRule(better=better), what="x", adjusted=1e-6, units=2000)
    assert result.verdict is verdict
    assert "the true difference may be as small as 0.2" in result.message


def test_too_few_units_decide_nothing_however_large_the_effect() -> None:
    effect = Effect(9.0, 8.0, 10.0, 1e-9, 30.0)
    result = judge_effect(effect, ExperimentRule(), what="x", adjusted=1e-9, units=499)
    assert (result.verdict, result.premature) == (Verdict.INCONCLUSIVE, True)
    assert "499 of 500 units" in result.message


def test_moments_from_sums_are_those_of_the_values() -> None:
    values = RNG.exponential(2, 400)
    sums = [float((values**power).sum()) for power in (1, 2, 3)]
    found = ArmMoments.of_sums(400, *sums)
    assert (found.mean, found.variance) == pytest.approx((values.mean(), values.var(ddof=1)), rel=1e-9)
    assert found.skewness == pytest.approx(stats.skew(values), rel=1e-9)
    assert ArmMoments.of_sums(1, 3.0, 9.0, 27.0) == ArmMoments(1, 3.0, 0.0)
    assert ArmMoments.of_sums(5, 5.0, 5.0, 5.0).skewness == 0.0


def share(units: int, ones: int) -> ArmMoments:
    return ArmMoments.of_sums(units, float(ones), float(ones), float(ones))


def test_rare_outcomes_in_a_small_arm_bound_nothing_yet() -> None:
    """450 and 50 units of a share of 1 %: no purchase in the small arm is no sign of anything."""
    early = always_valid(share(4500, 60), share(500, 0), alpha=0.05, planned_units=5000)
    assert (early.p_value, early.log_e, early.lower) == (1.0, 0.0, -math.inf)
    assert early.difference == pytest.approx(-60 / 4500)
    even = always_valid(share(2500, 60), share(2500, 0), alpha=0.05, planned_units=5000)
    assert even.upper < 0
    late = always_valid(share(45_000, 600), share(5000, 20), alpha=0.05, planned_units=5000)
    assert late.upper < 0


def test_skewness_of_a_difference_is_that_of_simulated_ones() -> None:
    rng = np.random.default_rng(12)
    arm, control = rng.exponential(size=(40_000, 20)), rng.exponential(size=(40_000, 80))
    simulated = stats.skew(arm.mean(axis=1) - control.mean(axis=1))
    assert difference_skewness(2.0, 80, 20) == pytest.approx(simulated, abs=0.03)
    assert difference_skewness(2.0, 50, 50) == 0.0
    assert difference_skewness(-2.0, 80, 20) == difference_skewness(2.0, 20, 80)


@pytest.mark.parametrize(("control", "skewness"), [(0.9, 2.0), (0.75, 10.0), (0.1, 2.0)])
def test_units_until_gaussian_are_the_first_whose_difference_is_hardly_skewed(
    control: float, skewness: float
) -> None:
    units = units_until_gaussian(skewness, control, 1 - control)
    assert difference_skewness(skewness, control * units, (1 - control) * units) <= LARGEST_SKEWNESS
    fewer = 0.98 * units
    assert difference_skewness(skewness, control * fewer, (1 - control) * fewer) > LARGEST_SKEWNESS

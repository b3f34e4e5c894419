"""The size of an experiment is that of the books for one look, and that of simulations for looks at every unit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from capstan.domain.verdicts.confidence import two_sided_radius
from capstan.domain.verdicts.experiments import ArmMoments, ExperimentRule, Test, proportions, welch
from capstan.domain.verdicts.first_passage import first_passage
from capstan.domain.verdicts.sample_size import (
    ExperimentDesign,
    SampleSize,
    detectable_effect,
    infeasible_experiment,
    run_time,
    sample_size,
    tuned,
)

WELCH = ExperimentRule(test=Test.WELCH)
SHARES = ExperimentRule(test=Test.PROPORTIONS)


def needed(design: ExperimentDesign) -> SampleSize:
    found = sample_size(design)
    assert found is not None
    return found


@pytest.mark.parametrize(("effect", "units"), [(0.02, 19_622), (0.05, 3_140), (0.1, 785)])
def test_one_look_has_its_golden_values(effect: float, units: int) -> None:
    assert needed(ExperimentDesign(effect, variance=0.25, rule=WELCH)).units == pytest.approx(units, abs=1)


def test_shares_of_one_are_the_textbooks() -> None:
    """(1.96 + 0.8416)^2 (0.1 0.9 + 0.12 0.88) / 0.02^2 = 3,839 units in each arm."""
    assert needed(ExperimentDesign(0.02, base=0.1, rule=SHARES)).units == pytest.approx(2 * 3839, abs=2)


def test_ranks_need_little_more_than_means_where_outcomes_are_gaussian() -> None:
    """A shift of d sd moves the chance by d / (2 sqrt(pi)), and Mann-Whitney's efficiency is 3 / pi."""
    shift = 0.1
    ranks = ExperimentDesign(shift / (2 * np.sqrt(np.pi)), rule=ExperimentRule(test=Test.MANN_WHITNEY))
    means = ExperimentDesign(shift, variance=1.0, rule=WELCH)
    assert needed(ranks).units / needed(means).units == pytest.approx(np.pi / 3, rel=0.001)


def test_unequal_shares_several_arms_and_guardrails_cost_units() -> None:
    plain = ExperimentDesign(0.1, variance=1.0, rule=WELCH)
    assert needed(replace(plain, shares=(9, 1))).units == pytest.approx(
        needed(plain).units * 0.25 / 0.09, rel=0.001
    )
    three = needed(replace(plain, shares=(1, 1, 1)))
    assert (three.pair_units, three.units) == (needed(plain).units, 1.5 * needed(plain).units)
    assert replace(plain, guardrails=3).needed_power == pytest.approx(0.95)
    assert needed(replace(plain, guardrails=3)).units > needed(plain).units
    assert needed(replace(plain, variance_reduction=0.75)).units == pytest.approx(
        needed(plain).units / 4, abs=1
    )
    assert needed(replace(plain, design_effect=3.0)).units == pytest.approx(
        needed(plain).units * 3, rel=0.001
    )


@pytest.mark.parametrize("effect", [0.02, 0.05, 0.1])
def test_looking_all_the_time_costs_as_much_as_was_simulated(effect: float) -> None:
    """Simulations: 80 % power at 1.65 times, half of the experiments at 0.96-0.98 times the units of one look."""
    design = tuned(ExperimentDesign(effect / 2, variance=0.25 / 4))
    one_look = needed(replace(design, rule=WELCH)).units
    found = needed(design)
    assert found.units / one_look == pytest.approx(1.65, abs=0.05)
    assert found.median_units / one_look == pytest.approx(0.95, abs=0.05)


def test_first_passage_is_the_simulated_one() -> None:
    drift, planned, runs = 0.06, 3000, 600
    looks = np.arange(500, 6001, 10)
    radius = np.array(
        [two_sided_radius(int(look), planned_units=planned, alpha=0.05) for look in looks], dtype=float
    )
    rng = np.random.default_rng(8)
    decided = np.zeros(len(looks))
    for _ in range(runs):
        drawn = rng.standard_normal(looks[-1]) + drift
        mean = drawn.cumsum()[looks - 1] / looks
        spread = np.sqrt(((drawn**2).cumsum()[looks - 1] / looks - mean**2) * looks / (looks - 1))
        decided += np.maximum.accumulate(mean > radius * spread) / runs
    passage = first_passage(drift, first=500, last=6000, planned_units=planned, alpha=0.05)
    expected = np.interp(looks, passage.units, passage.decided)
    assert np.abs(decided - expected).max() < 0.05
    for share in (0.3, 0.5, 0.8):
        reached = passage.reaches(share)
        assert reached is not None
        assert decided[np.searchsorted(looks, reached)] == pytest.approx(share, abs=0.05)
    assert passage.reaches(0.99999) is None


def power_of(units: int, shares: tuple[int, int], draw: str, test: Test) -> float:
    rng, runs, found = np.random.default_rng(3), 1500, 0
    first = units * shares[0] // sum(shares)
    for _ in range(runs):
        if draw == "gaussian":
            control, arm = rng.normal(5, 2, first), rng.normal(5.4, 2, units - first)
        else:
            control, arm = (rng.random(n) < share for n, share in ((first, 0.05), (units - first, 0.07)))
        moments = [ArmMoments(len(one), float(one.mean()), float(one.var(ddof=1))) for one in (control, arm)]
        compare = proportions if test is Test.PROPORTIONS else welch
        found += compare(*moments, alpha=0.05).p_value <= 0.05
    return found / runs


@pytest.mark.parametrize(
    ("design", "draw"),
    [
        pytest.param(ExperimentDesign(0.4, variance=4.0, rule=WELCH), "gaussian", id="means"),
        pytest.param(
            ExperimentDesign(0.4, variance=4.0, rule=WELCH, shares=(3, 1)), "gaussian", id="unequal shares"
        ),
        pytest.param(ExperimentDesign(0.02, base=0.05, rule=SHARES), "shares", id="proportions"),
    ],
)
def test_the_size_has_the_power_that_was_asked_for(design: ExperimentDesign, draw: str) -> None:
    units = needed(design).units
    assert len(design.shares) == 2
    power = power_of(units, (design.shares[0], design.shares[1]), draw, design.rule.test)
    assert power == pytest.approx(0.8, abs=0.03)


def test_nothing_finds_an_effect_of_nothing() -> None:
    assert sample_size(ExperimentDesign(0.0, variance=1.0)) is None
    assert sample_size(ExperimentDesign(1e-9, variance=1.0)) is None
    told = infeasible_experiment(
        ExperimentDesign(0.0, variance=1.0), deadline=timedelta(days=30), units_per_day=100
    )
    assert told is not None
    assert "no number of units finds it" in told


def test_least_units_are_needed_however_large_the_effect() -> None:
    found = needed(ExperimentDesign(5.0, variance=1.0))
    assert (found.units, found.median_units) == (500, 500)
    assert needed(ExperimentDesign(5.0, variance=0.0)).units == 500


@pytest.mark.parametrize("rule", [WELCH, ExperimentRule(planned_units=20_000)], ids=["Welch", "AlwaysValid"])
def test_detectable_effect_is_the_inverse_of_the_size(rule: ExperimentRule) -> None:
    for design in (
        ExperimentDesign(-0.02, variance=0.25, rule=rule),
        ExperimentDesign(-0.01, base=0.05, rule=rule),
    ):
        units = needed(design).units
        found = detectable_effect(design, units)
        assert found == pytest.approx(abs(design.effect), rel=0.003)


def test_too_few_units_detect_nothing() -> None:
    assert detectable_effect(ExperimentDesign(0.1, variance=1.0), 100) is None


def test_run_time_ends_when_the_last_units_window_is_over() -> None:
    found = run_time(10_001, units_per_day=1000, window=timedelta(days=7), delay=timedelta(hours=12))
    assert found == timedelta(days=11 + 7, hours=12)
    with pytest.raises(ValueError, match="units_per_day: 0 must be above 0"):
        run_time(10, units_per_day=0)


def test_deadline_that_cannot_be_met_is_told_with_the_ways_out() -> None:
    design = ExperimentDesign(-0.002, base=0.01, shares=(50, 25, 25))
    told = infeasible_experiment(
        design, deadline=timedelta(days=14), units_per_day=2000, window=timedelta(days=3)
    )
    assert told is not None
    assert "14d cannot be met: to find an effect of -0.002 with a power of 80%" in told
    assert "and 22,000 units are over by then" in told
    assert "ways out: look for an effect of -0.00" in told
    assert "fewer arms or equal shares" in told
    days = int(told.split("deadline: ")[1].split("d")[0])
    late: dict[str, Any] = {"units_per_day": 2000.0, "window": timedelta(days=3)}
    assert infeasible_experiment(design, deadline=timedelta(days=days), **late) is None
    assert infeasible_experiment(design, deadline=timedelta(days=days - 1), **late) is not None


def test_without_traffic_no_deadline_is_met() -> None:
    told = infeasible_experiment(
        ExperimentDesign(0.1, variance=1.0), deadline=timedelta(days=14), units_per_day=0
    )
    assert told is not None
    assert "no traffic is known" in told


def test_effect_is_found_also_where_the_test_was_planned_for_far_more_units() -> None:
    design = ExperimentDesign(0.002, base=0.01, rule=ExperimentRule(planned_units=85_000))
    found = detectable_effect(design, 60_000)
    assert found == pytest.approx(0.0031, abs=0.0002)
    assert needed(replace(design, effect=0.05)).units < 3000

"""The golden values of the method and what its statistics must obey."""

import math

import pytest

from capstan.domain.verdicts.confidence import (
    asymptotic_radius,
    fixed_budget_boundary,
    log_bayes_factor,
    log_betting_wealth,
    log_e_value,
    mixture_scale,
    one_sided_radius,
    two_sided_radius,
)

GOLDEN = [
    pytest.param(14, 14, 0.566868, 0.811194, 0.960398, 0.847660, id="two-weeks-of-days"),
    pytest.param(2000, 5000, 0.00158723, 0.069850, 0.069938, 0.063548, id="thousands-of-requests"),
]


@pytest.mark.parametrize(("units", "planned", "scale", "asymptotic", "two_sided", "one_sided"), GOLDEN)
def test_radii_are_the_golden_ones(units, planned, scale, asymptotic, two_sided, one_sided):
    assert mixture_scale(planned, 0.05) == pytest.approx(scale, abs=1e-5)
    assert asymptotic_radius(units, planned_units=planned, alpha=0.05) == pytest.approx(asymptotic, abs=1e-5)
    assert two_sided_radius(units, planned_units=planned, alpha=0.05) == pytest.approx(two_sided, abs=1e-5)
    assert one_sided_radius(units, planned_units=planned, alpha=0.05) == pytest.approx(one_sided, abs=1e-5)


def test_e_values_are_the_golden_ones():
    t = math.sqrt(14) * 0.8
    assert log_bayes_factor(14, t, planned_units=14, alpha=0.05) == pytest.approx(2.05477, abs=1e-5)
    assert log_e_value(14, t, planned_units=14, alpha=0.05) == pytest.approx(2.74109, abs=1e-5)


def test_seven_blocks_bound_a_loss_only_by_1_57_standard_deviations():
    assert one_sided_radius(7, planned_units=14, alpha=0.05) == pytest.approx(1.57, abs=0.005)


@pytest.mark.parametrize("units", [0, 1, 2, 3, 4])
def test_too_few_units_bound_nothing(units):
    assert one_sided_radius(units, planned_units=14, alpha=0.05) == math.inf
    assert two_sided_radius(units, planned_units=14, alpha=0.05) == math.inf


def test_two_sided_radius_is_finite_from_six_units():
    assert two_sided_radius(5, planned_units=14, alpha=0.05) == math.inf
    assert two_sided_radius(6, planned_units=14, alpha=0.05) < math.inf


@pytest.mark.parametrize("units", [7, 14, 40, 300])
def test_two_sided_bound_is_where_the_e_value_reaches_one_over_alpha(units):
    t = math.sqrt(units) * two_sided_radius(units, planned_units=14, alpha=0.05)
    assert log_bayes_factor(units, t, planned_units=14, alpha=0.05) == pytest.approx(math.log(20), abs=1e-9)


@pytest.mark.parametrize("units", [7, 14, 40, 300])
def test_one_sided_bound_is_conservative_against_its_e_value(units):
    t = math.sqrt(units) * one_sided_radius(units, planned_units=14, alpha=0.05)
    assert math.log(20) <= log_e_value(units, t, planned_units=14, alpha=0.05) < math.log(20) + 0.2


def test_e_value_of_a_mean_on_the_wrong_side_is_evidence_for_the_null():
    assert log_e_value(20, -5.0, planned_units=14, alpha=0.05) < -2.5


def test_fixed_budget_stops_at_the_reflected_boundary():
    assert fixed_budget_boundary(100, alpha=0.05) == pytest.approx(19.59964, abs=1e-5)


def test_fixed_budget_refuses_a_promise_too_short_to_be_valid():
    with pytest.raises(ValueError, match="below 100"):
        fixed_budget_boundary(99, alpha=0.05)


def test_betting_finds_a_gain_and_stays_poor_without_one():
    gain = [0.3, 0.1, 0.4, -0.1, 0.2] * 60
    assert log_betting_wealth(gain, bound=1.0, threshold=0.0) > math.log(20)
    assert log_betting_wealth([-d for d in gain], bound=1.0, threshold=0.0) < math.log(20)


def test_betting_sets_each_bet_before_it_sees_the_unit():
    # The first bet knows nothing, so a single extreme unit can win nothing.
    assert log_betting_wealth([1.0], bound=1.0, threshold=0.0) == 0.0


@pytest.mark.parametrize("difference", [1.5, -1.5, math.nan])
def test_betting_refuses_a_difference_outside_its_bound(difference):
    with pytest.raises(ValueError, match="outside"):
        log_betting_wealth([difference], bound=1.0, threshold=0.0)

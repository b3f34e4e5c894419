"""What is inferred from a bandit: golden sums by hand, late and missing outcomes, arms that nobody met."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from capstan.domain.verdicts.bandit_inference import (
    UNKNOWN,
    Outcomes,
    Period,
    difference,
    mean_reward,
    regret,
)
from capstan.domain.verdicts.bandits import Rewards
from capstan.domain.verdicts.confidence import two_sided_radius


def radius_for(planned_units: int):
    return lambda units: two_sided_radius(units, planned_units=planned_units, alpha=0.05)


HALVES = {"a": 50, "b": 50}


def ones(count: int, of: int, closed: int | None = None) -> Outcomes:
    return Outcomes(of if closed is None else closed, Rewards(of, count, count, count))


def apart(periods: list[Period]) -> tuple[float, float, float]:
    found = difference(periods, "b", "a", radius=radius_for(1000))
    return found.estimate, found.lower, found.upper


def test_one_period_of_equal_shares_is_the_difference_of_means_up_to_the_sizes_of_the_arms() -> None:
    found = difference(
        [Period(HALVES, {"a": ones(30, 100), "b": ones(50, 100)})], "b", "a", radius=radius_for(1000)
    )
    assert found.estimate == pytest.approx(0.2)
    assert found.units == 200
    assert found.lower < 0.2 < found.upper


def test_each_score_counts_by_the_inverse_of_its_share() -> None:
    # By hand: in the second period a is expected to be worth 0.3 and b 0.5.
    periods = [
        Period(HALVES, {"a": ones(30, 100), "b": ones(50, 100)}),
        Period({"a": 20, "b": 80}, {"a": ones(8, 20), "b": ones(36, 80)}),
    ]
    second_b = (100 * 0.5 + (36 - 80 * 0.5) * 100 / 80) / 100
    second_a = (100 * 0.3 + (8 - 20 * 0.3) * 100 / 20) / 100
    assert mean_reward(periods, "a") == pytest.approx((200 * 0.3 + 100 * second_a) / 300)
    assert mean_reward(periods, "b") == pytest.approx((200 * 0.5 + 100 * second_b) / 300)


def test_a_period_in_which_nobody_met_an_arm_counts_by_what_was_known_before() -> None:
    periods = [
        Period(HALVES, {"a": ones(30, 100), "b": ones(50, 100)}),
        Period({"a": 1, "b": 99}, {"b": ones(25, 50)}),
    ]
    assert mean_reward(periods, "a") == pytest.approx(0.3)
    assert apart(periods)[0] == pytest.approx(0.2)


def test_closed_units_without_an_outcome_take_nothing_from_their_arms_mean() -> None:
    full = [Period(HALVES, {"a": ones(30, 100), "b": ones(50, 100)})]
    gaps = [Period(HALVES, {"a": ones(30, 100), "b": ones(25, 50, closed=100)})]
    assert mean_reward(gaps, "b") == mean_reward(full, "b") == 0.5
    assert apart(gaps)[0] == pytest.approx(0.2, abs=0.01)


def test_a_period_whose_outcomes_are_all_missing_is_left_out() -> None:
    known = Period(HALVES, {"a": ones(30, 100), "b": ones(50, 100)})
    unknown = Period(HALVES, {"a": ones(90, 100), "b": Outcomes(closed=100)})
    assert apart([known, unknown]) == apart([known])


@pytest.mark.parametrize(
    "periods",
    [[], [Period(HALVES, {"a": ones(3, 10)})], [Period(HALVES, {"a": Outcomes(), "b": Outcomes()})]],
    ids=["no period", "one arm", "nothing closed"],
)
def test_nothing_is_known_without_rewards_of_both_arms(periods: list[Period]) -> None:
    assert difference(periods, "b", "a", radius=radius_for(1000)) == UNKNOWN
    assert mean_reward(periods, "b") is None


def test_rewards_that_never_differ_bound_nothing() -> None:
    always = Period(HALVES, {"a": Outcomes(50, Rewards(50, 50, 50)), "b": Outcomes(50, Rewards(50, 50, 50))})
    found = difference([always], "b", "a", radius=radius_for(1000))
    assert (found.lower, found.upper) == (-math.inf, math.inf)


def test_the_skewness_of_an_estimate_is_that_of_its_scores() -> None:
    # One period of equal shares: scores are 2 (r - q) of arm b and -2 (r - q) of arm a, q the mean of both.
    period = Period(HALVES, {"a": ones(10, 100), "b": ones(30, 100)})
    scores = [*[2 * 0.8] * 30, *[-2 * 0.2] * 70, *[-2 * 0.8] * 10, *[2 * 0.2] * 90]
    mean = sum(scores) / 200
    second, third = (sum((score - mean) ** power for score in scores) for power in (2, 3))
    found = difference([period], "b", "a", radius=radius_for(1000))
    assert found.estimate == pytest.approx(mean)
    assert found.skewness == pytest.approx(third / second**1.5)


def test_regret_is_what_the_best_arm_would_have_gained_more() -> None:
    lost = regret({"a": 100, "b": 300}, {"a": 0.1, "b": 0.3})
    assert (lost.bandit, lost.even) == (pytest.approx(20), pytest.approx(40))


def test_periods_side_by_side_are_scored_by_what_was_known_before_all_of_them() -> None:
    # By hand: units that took turns, drawn by 50 to 50 and by 20 to 80; a is expected to be worth 0.3 and b 0.5.
    first = Period(HALVES, {"a": ones(30, 100), "b": ones(50, 100)})
    even = Period(HALVES, {"a": ones(9, 20), "b": ones(12, 20)}, stretch=1)
    skewed = Period({"a": 20, "b": 80}, {"a": ones(8, 20), "b": ones(36, 75)}, stretch=1)
    even_b = 40 * 0.5 + (12 - 20 * 0.5) * 2
    skewed_b = 95 * 0.5 + (36 - 75 * 0.5) * 100 / 80
    for periods in ([first, even, skewed], [first, skewed, even]):
        assert mean_reward(periods, "b") == pytest.approx((200 * 0.5 + even_b + skewed_b) / 335)
    assert apart([first, even, skewed]) == pytest.approx(apart([first, skewed, even]))
    # One after the other the second would be predicted by the first.
    later = replace(skewed, stretch=2)
    assert mean_reward([first, even, later], "b") != mean_reward([first, even, skewed], "b")


def test_a_unit_that_stands_alone_by_its_shares_counts_as_those_beside_it_do() -> None:
    # Without the others of its stretch a period in which nobody met an arm could not be judged.
    lone = [Period({"a": 50 - n, "b": 50 + n}, {"b": ones(1, 1)}, stretch=0) for n in range(10)]
    many = Period(HALVES, {"a": ones(30, 100), "b": ones(50, 90)}, stretch=0)
    assert difference([many, *lone], "b", "a", radius=radius_for(1000)).units == 200


def test_outcomes_that_are_missing_are_made_up_for_by_those_of_the_whole_stretch() -> None:
    known = Period(HALVES, {"a": ones(5, 10), "b": ones(8, 10)}, stretch=0)
    unknown = Period({"a": 40, "b": 60}, {"a": Outcomes(closed=10), "b": ones(8, 10)}, stretch=0)
    both = {"a": 10, "b": 20}
    # Half of the closed units of a have an outcome, so each of them stands for two.
    residual = 100 / 50 * 20 / 10 * (5 - 10 * 0.5)
    assert mean_reward([known, unknown], "a") == pytest.approx(0.5 + residual / sum(both.values()))


def test_a_period_in_which_one_of_the_two_could_not_be_met_says_nothing_of_their_difference() -> None:
    both = Period(HALVES, {"a": ones(30, 100), "b": ones(50, 100)})
    closed = Period({"a": 100, "b": 0}, {"a": ones(90, 100)})
    assert apart([both, closed]) == apart([both])
    assert apart([both, replace(closed, stretch=1), replace(both, stretch=1)])[0] == pytest.approx(0.2)

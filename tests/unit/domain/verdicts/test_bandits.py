"""Shares of a bandit: MABWiser agrees, ties and missing data are defined, whole percents keep the floor."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.domain.verdicts.bandits import (
    BanditRule,
    Policy,
    Rewards,
    chances_to_be_best,
    preferences,
    shares_of,
    upper_bounds,
    whole_shares,
)


def binary(count: int, ones: int) -> Rewards:
    return Rewards(count, ones, ones)


CLICKS = {"a": binary(100, 12), "b": binary(200, 30), "c": binary(50, 5)}
ARMS = list(CLICKS.values())


class TestMABWiserAgrees:
    """Golden values of mabwiser 2.7.4, whose pandas is too new for this environment.

    `MAB(list("abc"), policy, seed=7).fit(decisions, rewards)` with the 12 of 100, 30 of 200 and 5 of 50 ones above;
    bounds are `predict_expectations()` of `UCB1(alpha=1)`, shares those of 40,000 calls of `predict()`.
    """

    def test_on_upper_confidence_bounds(self) -> None:
        assert upper_bounds(ARMS) == pytest.approx(
            [0.4622844768458967, 0.39203167467262334, 0.5840633493452467], abs=1e-12
        )

    def test_on_how_often_epsilon_greedy_chooses_each_arm(self) -> None:
        rule = BanditRule(Policy.EPSILON_GREEDY, epsilon=0.1)
        assert preferences(rule, ARMS) == pytest.approx([0.03435, 0.93345, 0.0322], abs=0.004)

    def test_on_how_often_thompson_chooses_each_arm(self) -> None:
        rule = BanditRule(Policy.THOMPSON, is_binary=True)
        assert preferences(rule, ARMS) == pytest.approx([0.21445, 0.608, 0.17755], abs=0.007)


def test_gaussian_thompson_of_two_arms_is_the_normal_probability_of_their_difference() -> None:
    first, second = Rewards(400, 40.0, 404.0), Rewards(100, 20.0, 104.0)
    error = math.sqrt(first.variance / 400 + second.variance / 100)
    exact = 0.5 * (1 + math.erf((first.mean - second.mean) / error / math.sqrt(2)))
    assert chances_to_be_best([first, second], is_binary=False) == pytest.approx([exact, 1 - exact], abs=1e-4)


def test_a_posterior_much_wider_than_its_rival_is_resolved() -> None:
    # One arm is known to a thousandth, the other hardly: the chance is that of the wide one to be above a point.
    narrow, wide = Rewards(10**8, 0.0, 10**8), Rewards(100, 50.0, 124.0)
    error = math.sqrt(wide.variance / 100)
    exact = 0.5 * (1 + math.erf(wide.mean / error / math.sqrt(2)))
    assert chances_to_be_best([narrow, wide], is_binary=False)[1] == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize("policy", list(Policy))
def test_equal_arms_get_equal_shares(policy: Policy) -> None:
    equal = {"a": binary(60, 6), "b": binary(60, 6)}
    assert shares_of(BanditRule(policy, is_binary=True), equal) == {"a": 50, "b": 50}


def test_arms_whose_rewards_never_differ_are_equal() -> None:
    always = {name: Rewards(40, 80.0, 160.0) for name in "abcd"}
    assert shares_of(BanditRule(Policy.THOMPSON), always) == dict.fromkeys("abcd", 25)


@pytest.mark.parametrize("policy", list(Policy))
@pytest.mark.parametrize("count", [0, 1, 29])
def test_shares_stay_while_an_arm_has_too_few_rewards(policy: Policy, count: int) -> None:
    assert shares_of(BanditRule(policy), {"a": binary(500, 50), "b": binary(count, count)}) is None


def test_no_arms_move_nothing() -> None:
    assert shares_of(BanditRule(), {}) is None


@pytest.mark.parametrize("policy", list(Policy))
def test_the_floor_holds_for_an_arm_that_loses_clearly(policy: Policy) -> None:
    clear = {"a": binary(20_000, 10_000), "b": binary(20_000, 1_000), "c": binary(20_000, 1_000)}
    assert shares_of(BanditRule(policy, floor=4, is_binary=True), clear) == {"a": 92, "b": 4, "c": 4}


def test_upper_bounds_of_rewards_in_a_longer_interval_are_those_of_scaled_ones() -> None:
    scaled = [Rewards(one.count, one.total * 8, one.squares * 64) for one in ARMS]
    assert upper_bounds(scaled, reach=8) == pytest.approx([8 * bound for bound in upper_bounds(ARMS)])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_sums_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        shares_of(BanditRule(), {"a": Rewards(50, value, 1.0), "b": Rewards(50, 1.0, 1.0)})


def test_a_floor_that_all_arms_together_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="26 % for each of 4 arms is more than 100 %"):
        whole_shares([0.25] * 4, 26)


rewards = st.integers(30, 10_000).flatmap(
    lambda count: st.integers(0, count).map(lambda ones: binary(count, ones))
)


@given(st.lists(rewards, min_size=2, max_size=5), st.sampled_from(list(Policy)), st.integers(1, 20))
def test_shares_are_whole_make_100_and_keep_the_floor(
    arms: list[Rewards], policy: Policy, floor: int
) -> None:
    named = dict(zip("abcde", arms, strict=False))
    shares = shares_of(BanditRule(policy, floor=floor, is_binary=True), named)
    assert shares is not None
    assert sum(shares.values()) == 100
    assert min(shares.values()) >= floor


@given(st.lists(rewards, min_size=3, max_size=3), st.sampled_from(list(Policy)))
def test_the_order_of_arms_moves_no_share_by_more_than_its_rounding(
    arms: list[Rewards], policy: Policy
) -> None:
    rule = BanditRule(policy, is_binary=True)
    named = dict(zip("abc", arms, strict=True))
    expected = shares_of(rule, named)
    assert expected is not None
    for names in permutations("abc"):
        found = shares_of(rule, {name: named[name] for name in names})
        assert found is not None
        assert all(abs(found[name] - expected[name]) <= 1 for name in "abc")


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda parts: sum(parts) > 1e-6),
    st.integers(0, 12),
)
def test_whole_shares_are_within_one_percent_above_the_floor(parts: list[float], floor: int) -> None:
    wanted = [part / sum(parts) for part in parts]
    found = whole_shares(wanted, floor)
    assert sum(found) == 100
    assert min(found) >= floor
    if all(100 * share >= floor for share in wanted):
        assert all(abs(100 * share - whole) <= 1 for share, whole in zip(wanted, found, strict=True))

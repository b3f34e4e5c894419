"""Simulated bandits: what they cost, how soon the best arm has the requests, and what the verdict says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capstan.domain.verdicts.arms import ArmsRule
from capstan.domain.verdicts.bandits import BanditRule, Policy
from capstan.domain.verdicts.experiments import Better
from capstan.evaluation.bandit_power import BanditScenario, simulate_bandit

RULE = ArmsRule("reward", Better.HIGHER)
CLEAR = BanditScenario((0.4, 0.6), units_per_batch=200, batches=20, runs=20)


@pytest.mark.parametrize("policy", list(Policy))
def test_the_better_arm_gets_the_requests_and_equal_shares_lose_more(policy: Policy) -> None:
    found = simulate_bandit(CLEAR, BanditRule(policy, is_binary=True), RULE)
    # 4,000 units lose 0.2 each in the worse half.
    assert found.even_regret == pytest.approx(400, rel=0.01)
    assert found.regret < found.even_regret / 2
    assert found.median_units is not None
    assert found.median_units <= 1000
    assert found.right > 0.8
    assert found.wrong == 0


def test_floors_of_a_half_are_equal_shares_and_cost_as_much() -> None:
    found = simulate_bandit(CLEAR, BanditRule(floor=50, is_binary=True), RULE)
    assert found.regret == pytest.approx(found.even_regret, rel=0.05)
    assert found.median_units is None


def test_late_rewards_move_the_weights_later() -> None:
    rule = BanditRule(is_binary=True)
    at_once = simulate_bandit(CLEAR, rule, RULE)
    late = simulate_bandit(replace(CLEAR, late=4), rule, RULE)
    assert late.median_units == (at_once.median_units or 0) + 4 * CLEAR.units_per_batch
    assert late.regret > at_once.regret


def test_a_champion_that_is_the_best_is_named_by_the_rejection_of_the_others() -> None:
    found = simulate_bandit(replace(CLEAR, means=(0.6, 0.4)), BanditRule(is_binary=True), RULE)
    assert found.right > 0.8
    assert found.wrong == 0


def test_every_verdict_about_equal_arms_is_wrong_and_such_verdicts_are_rare() -> None:
    equal = BanditScenario((0.0, 0.0), 1.0, units_per_batch=100, batches=20, runs=60)
    found = simulate_bandit(equal, BanditRule(), replace(RULE, alpha=0.05))
    assert found.right == 0
    assert found.wrong <= 0.1
    assert (found.regret, found.median_units, found.largest_is_wrong) == (0, None, 0)
    hasty = simulate_bandit(equal, BanditRule(), replace(RULE, alpha=0.4999))
    assert hasty.wrong > found.wrong


def test_the_same_seed_tells_the_same() -> None:
    short = replace(CLEAR, runs=3)
    rule = BanditRule(is_binary=True)
    assert simulate_bandit(short, rule, RULE) == simulate_bandit(short, rule, RULE)
    assert simulate_bandit(replace(short, seed=1), rule, RULE) != simulate_bandit(short, rule, RULE)

"""How bandits learn and what is inferred from them, in worlds whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simulation.bandit_worlds import (
    Played,
    at_once,
    guarding,
    inverse_propensity_mean,
    play,
    play_by_request,
    radius_for,
)

from capstan.domain.verdicts.bandit_inference import difference, mean_reward, regret
from capstan.domain.verdicts.bandits import BanditRule, Policy

TRUTH = {"a": 0.5, "b": 0.4}


def clicks(rng: np.random.Generator, share: float):
    return lambda count: (rng.random(count) < share).astype(float)


@pytest.mark.parametrize(
    ("policy", "plain", "least"),
    [(Policy.EPSILON_GREEDY, -0.033, -0.074), (Policy.THOMPSON, -0.022, -0.056)],
)
def test_plain_means_of_a_bandits_arms_are_too_low_and_weighted_ones_are_not(policy, plain, least):
    # Two equal N(0, 1) arms, 20 batches of 50, each arm at least 5 %: as published by Nie et al. (2018).
    rng = np.random.default_rng(11)
    runs: list[Played] = [
        play(
            at_once(BanditRule(policy, floor=5, epsilon=0.1)),
            {"a": rng.standard_normal, "b": rng.standard_normal},
            batches=20,
            size=50,
            rng=rng,
        )
        for _ in range(600)
    ]
    means = [run.rewards[arm].mean for run in runs for arm in "ab"]
    rarer = [min(run.rewards.values(), key=lambda one: one.count).mean for run in runs]
    inverse = [inverse_propensity_mean(run.periods, arm) for run in runs for arm in "ab"]
    augmented = [mean_reward(run.periods, arm) for run in runs for arm in "ab"]
    assert np.mean(means) == pytest.approx(plain, abs=0.01)
    assert np.mean(rarer) == pytest.approx(least, abs=0.02)
    assert np.mean(inverse) == pytest.approx(0, abs=0.01)
    assert np.mean(augmented) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("policy", list(Policy))
def test_equal_arms_are_called_different_in_at_most_5_percent_with_a_look_after_every_batch(policy):
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(120):
        equal = {"a": rng.standard_normal, "b": rng.standard_normal}
        periods = play(BanditRule(policy), equal, batches=30, size=250, rng=rng).periods
        looks = (difference(periods[: end + 1], "b", "a", radius=radius_for(5000)) for end in range(30))
        wrong += any(found.lower > 0 or found.upper < 0 for found in looks)
    assert wrong / 120 <= 0.05


def alarms(policy: Policy, seed: int, harm: float, *, runs: int = 120, late: int = 0) -> float:
    """How often a guardrail of margin 0.02 alarms for an arm that the policy likes, looked at after every batch.

    Users click more on `b`, so it gets most of them. It has less of the guarded outcome, by `harm`; more is better.
    """
    rng = np.random.default_rng(seed)
    alarmed = 0
    for _ in range(runs):
        liked = {"a": clicks(rng, 0.4), "b": clicks(rng, 0.5)}
        guarded = {"a": clicks(rng, 0.9), "b": clicks(rng, 0.9 - harm)}
        rule = BanditRule(policy, is_binary=True)
        periods = play(rule, liked, batches=30, size=500, rng=rng, late=late, beside=guarded).beside
        looks = (difference(periods[: end + 1], "b", "a", radius=guarding(5000)) for end in range(30))
        alarmed += any(found.upper < -0.02 for found in looks)
    return alarmed / runs


@pytest.mark.parametrize("policy", list(Policy))
def test_a_guardrail_alarms_at_its_margin_in_at_most_5_percent_while_shares_move(policy):
    assert alarms(policy, 21, 0.02) <= 0.05


def test_a_guardrail_stops_an_arm_that_users_like_and_that_does_harm():
    assert alarms(Policy.THOMPSON, 22, 0.06, runs=60) >= 0.9


def test_a_better_arm_is_found_and_its_gain_lies_in_the_interval():
    rng = np.random.default_rng(8)
    found = []
    for _ in range(60):
        arms = {name: clicks(rng, share) for name, share in TRUTH.items()}
        periods = play(BanditRule(is_binary=True), arms, batches=20, size=500, rng=rng).periods
        found.append(difference(periods, "b", "a", radius=radius_for(5000)))
    assert np.mean([one.upper < 0 for one in found]) > 0.9
    assert np.mean([one.lower <= -0.1 <= one.upper for one in found]) >= 0.95


def played(policy: Policy, seed: int, batches: int, *, late: int = 0) -> Played:
    rng = np.random.default_rng(seed)
    arms = {name: clicks(rng, share) for name, share in TRUTH.items()}
    rule = at_once(BanditRule(policy, floor=0, is_binary=True))
    return play(rule, arms, batches=batches, size=20, rng=rng, late=late)


def test_the_regret_of_ucb1_stays_below_its_bound_and_grows_like_the_logarithm():
    early, later = (
        np.mean([regret(played(Policy.UCB1, seed, batches).assigned(), TRUTH).bandit for seed in range(12)])
        for batches in (50, 400)
    )
    gap, units = 0.1, 400 * 20
    assert later <= 8 * math.log(units) / gap + (1 + math.pi**2 / 3) * gap
    # Eight times the units: a policy that learned nothing would lose eight times as much.
    assert later < 3 * early


def test_the_regret_of_thompson_is_near_the_least_that_any_policy_can_reach():
    losses = [regret(played(Policy.THOMPSON, seed, 400).assigned(), TRUTH) for seed in range(12)]
    information = 0.4 * math.log(0.4 / 0.5) + 0.6 * math.log(0.6 / 0.5)
    lai_robbins = 0.1 / information * math.log(400 * 20)
    assert np.mean([one.bandit for one in losses]) < 1.5 * lai_robbins
    assert losses[0].even == pytest.approx(400.0)


def test_rewards_that_come_late_cost_regret_but_no_bias():
    at_hand, late = (
        np.mean(
            [
                regret(played(Policy.THOMPSON, seed, 60, late=lag).assigned(), TRUTH).bandit
                for seed in range(12)
            ]
        )
        for lag in (0, 20)
    )
    # Twenty batches without a reward are twenty batches of equal shares: 20 x 20 x 0.05.
    assert late == pytest.approx(at_hand + 20, abs=10)


@pytest.mark.parametrize("policy", list(Policy))
def test_means_weighted_by_the_shares_of_each_request_are_not_too_low(policy):
    # Equal N(0, 1) arms whose shares move after every 10 of 800 units, all told apart by the shares that drew them.
    rng = np.random.default_rng(12)
    equal = {"a": rng.standard_normal, "b": rng.standard_normal}
    rule = at_once(BanditRule(policy, floor=5))
    runs = [play_by_request(rule, equal, stretches=4, size=200, moves=20, rng=rng) for _ in range(500)]
    plain = [run.rewards[arm].mean for run in runs for arm in "ab"]
    augmented = [mean_reward(run.periods, arm) for run in runs for arm in "ab"]
    assert np.mean(plain) < -0.01
    assert np.mean(augmented) == pytest.approx(0, abs=0.012)


@pytest.mark.parametrize("policy", list(Policy))
def test_equal_arms_are_called_different_in_at_most_5_percent_where_each_request_has_its_own_shares(policy):
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(120):
        equal = {"a": rng.standard_normal, "b": rng.standard_normal}
        rule = BanditRule(policy)
        periods = play_by_request(rule, equal, stretches=12, size=600, moves=30, rng=rng).periods
        ends = [end for end in range(len(periods)) if periods[end].stretch != periods[end - 1].stretch]
        looks = (difference(periods[:end], "b", "a", radius=radius_for(5000)) for end in [*ends[1:], None])
        wrong += any(found.lower > 0 or found.upper < 0 for found in looks)
    assert wrong / 120 <= 0.05


def test_a_better_arm_is_found_by_requests_and_its_gain_lies_in_the_interval():
    rng = np.random.default_rng(9)
    found = []
    for _ in range(60):
        arms = {name: clicks(rng, share) for name, share in TRUTH.items()}
        rule = BanditRule(is_binary=True)
        periods = play_by_request(rule, arms, stretches=8, size=1250, moves=50, rng=rng).periods
        found.append(difference(periods, "b", "a", radius=radius_for(5000)))
    assert np.mean([one.upper < 0 for one in found]) > 0.9
    assert np.mean([one.lower <= -0.1 <= one.upper for one in found]) >= 0.95

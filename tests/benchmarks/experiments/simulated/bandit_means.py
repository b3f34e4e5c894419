"""Plain means of a bandit's arms, and means weighted by propensity, of arms that are equal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from benchmarks.experiments.simulated.table import Table
from simulation.bandit_worlds import Played, at_once, inverse_propensity_mean, play

from capstan.domain.verdicts.bandit_inference import mean_reward
from capstan.domain.verdicts.bandits import BanditRule, Policy

Advance = Callable[[int], None]

SEED = 901
POLICIES = {"ε-greedy": Policy.EPSILON_GREEDY, "Thompson": Policy.THOMPSON}
BATCHES, BATCH = 20, 50


def bandit_means(runs: int, advance: Advance = lambda _: None) -> Table:
    """The mean error of each kind of mean, over runs and arms; the truth is 0."""
    columns = [_errors(policy, runs, SEED + place, advance) for place, policy in enumerate(POLICIES.values())]
    names = (
        "plain mean, truth 0",
        "plain mean of the arm that was asked less",
        "weighted by propensity",
        "augmented, as the product does",
    )
    rows = tuple(
        (name, *(f"{found:+.3f}" for found in values)) for name, *values in zip(names, *columns, strict=True)
    )
    return Table(
        "",
        ("", *POLICIES),
        rows,
        f"{runs:,} bandits of {BATCHES} batches of {BATCH} units, two equal arms N(0, 1), each arm at least 5 %; seeds "
        f"{SEED} and following.",
    )


def _errors(policy: Policy, runs: int, seed: int, advance: Advance) -> tuple[float, float, float, float]:
    rng = np.random.default_rng(seed)
    rule = at_once(BanditRule(policy, floor=5, epsilon=0.1))
    plain, rarer, inverse, augmented = [], [], [], []
    for _ in range(runs):
        arms = {"a": rng.standard_normal, "b": rng.standard_normal}
        one: Played = play(rule, arms, batches=BATCHES, size=BATCH, rng=rng)
        plain += [one.rewards[arm].mean for arm in "ab"]
        rarer.append(min(one.rewards.values(), key=lambda rewards: rewards.count).mean)
        inverse += [inverse_propensity_mean(one.periods, arm) for arm in "ab"]
        augmented += [mean_reward(one.periods, arm) for arm in "ab"]
        advance(1)
    return float(np.mean(plain)), float(np.mean(rarer)), float(np.mean(inverse)), float(np.mean(augmented))

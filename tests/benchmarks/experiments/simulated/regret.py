"""What a bandit costs while it learns: regret of each policy, of an even split and of following the best mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from benchmarks.experiments.simulated.table import Table, percent

from capstan.domain.verdicts.bandits import BanditRule, Policy, Rewards, shares_of

SEED = 501
BATCHES, BATCH = 12, 1250

Advance = Callable[[int], None]

ARMS = ((0.10, 0.12), (0.10, 0.10, 0.15))
"""Chance of a reward in each arm, of one reward or none."""
RULES: dict[str, BanditRule | None] = {
    "Thompson": BanditRule(Policy.THOMPSON, is_binary=True),
    "UCB1": BanditRule(Policy.UCB1, is_binary=True),
    "EpsilonGreedy": BanditRule(Policy.EPSILON_GREEDY, is_binary=True),
    "naive: follow the best mean": BanditRule(Policy.EPSILON_GREEDY, floor=0, epsilon=0.0, is_binary=True),
    "even split, as in A/B": None,
}


@dataclass(frozen=True)
class Regret:
    """Rewards that were missed against always taking the best arm, over runs."""

    mean: float
    late: float
    """The 95 % quantile."""
    wrong: float
    """Share of runs that give the best arm less than half of the last batch."""


def regret(runs: int, advance: Advance = lambda _: None) -> Table:
    """Every policy on every set of arms."""
    rows = []
    for place, chances in enumerate(ARMS):
        bound, floor = lai_robbins(chances), floor_cost(chances, BanditRule().floor)
        for rule_place, (name, rule) in enumerate(RULES.items()):
            found = missed(rule, chances, runs, seed=SEED + 10 * place + rule_place, advance=advance)
            rows.append(
                (
                    f"{', '.join(f'{100 * one:g} %' for one in chances)}: {name}",
                    f"{found.mean:,.0f}",
                    f"{found.late:,.0f}",
                    percent(found.wrong),
                    f"{bound:,.0f}",
                    f"{floor:,.0f}" if rule is not None and rule.floor else "-",
                    f"{ucb1_bound(chances):,.0f}" if name == "UCB1" else "-",
                )
            )
    return Table(
        "What a bandit costs while it learns",
        (
            "arms and policy",
            "regret, mean",
            "regret, 95 % quantile",
            "best arm not found",
            "lower bound (Lai, Robbins)",
            "cost of the floor",
            "upper bound (Auer et al.)",
        ),
        tuple(rows),
        f"{runs:,} runs of {BATCHES} batches of {BATCH:,} requests, a reward being 1 or 0; seeds {SEED} and following. "
        f"Regret counts the rewards that were missed. A floor of {BanditRule().floor} % costs its part for ever, on "
        "top of what any policy without a floor must pay in the long run; the first batch is split evenly. The best "
        "arm is not found where it gets less than half of the last batch: to follow the best mean is cheap where luck "
        "is good, and never recovers where it is not. Shares move once in a batch, so UCB1, which gives a batch to one "
        "arm, pays for it.",
    )


def missed(
    rule: BanditRule | None,
    chances: tuple[float, ...],
    runs: int,
    *,
    seed: int,
    advance: Advance = lambda _: None,
) -> Regret:
    """Simulate one policy; None: an even split for ever."""
    rng = np.random.default_rng(seed)
    names = [str(place) for place in range(len(chances))]
    best = max(range(len(chances)), key=chances.__getitem__)
    gaps = np.array([chances[best] - chance for chance in chances])
    even = np.full(len(chances), 1 / len(chances))
    found, wrong = np.zeros(runs), 0
    for run in range(runs):
        shares = even
        units, total = np.zeros(len(chances)), np.zeros(len(chances))
        for _ in range(BATCHES):
            counts = rng.multinomial(BATCH, shares)
            units += counts
            total += rng.binomial(counts, chances)
            last = shares
            if rule is not None:
                rewards = {
                    name: Rewards(int(n), float(s), float(s))
                    for name, n, s in zip(names, units, total, strict=True)
                }
                told = shares_of(rule, rewards)
                shares = even if told is None else np.array(list(told.values())) / 100
        found[run] = float(units @ gaps)
        wrong += bool(last[best] < 0.5)
        advance(1)
    return Regret(float(found.mean()), float(np.quantile(found, 0.95)), wrong / runs)


def lai_robbins(chances: tuple[float, ...]) -> float:
    """ln T times the sum of gap / KL: what every policy that always learns pays in the long run."""
    best = max(chances)
    return math.log(BATCHES * BATCH) * sum((best - one) / _kl(one, best) for one in chances if one < best)


def ucb1_bound(chances: tuple[float, ...]) -> float:
    """8 ln T times the sum of 1 / gap, and (1 + pi^2 / 3) times the sum of gaps (Auer et al. 2002, theorem 1)."""
    gaps = [max(chances) - one for one in chances if one < max(chances)]
    return 8 * math.log(BATCHES * BATCH) * sum(1 / gap for gap in gaps) + (1 + math.pi**2 / 3) * sum(gaps)


def floor_cost(chances: tuple[float, ...], floor: int) -> float:
    """Rewards that the floor of the other arms costs over all requests."""
    return BATCHES * BATCH * floor / 100 * sum(max(chances) - one for one in chances)


def _kl(p: float, q: float) -> float:
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))

"""Bandits in worlds whose truth is known: each batch is assigned by the shares that the policy gave before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from capstan.domain.verdicts.bandit_inference import Outcomes, Period
from capstan.domain.verdicts.bandits import BanditRule, Rewards, shares_of
from capstan.domain.verdicts.confidence import one_sided_radius, two_sided_radius

Floats = npt.NDArray[np.float64]
Draw = Callable[[int], Floats]
"""So many rewards of one arm."""


@dataclass(frozen=True)
class Played:
    """What a bandit did."""

    periods: list[Period]
    rewards: dict[str, Rewards]
    """All of each arm, as plain means would use them."""
    beside: list[Period]
    """The same units by another outcome, which moves no share."""

    def assigned(self) -> dict[str, int]:
        return {name: one.count for name, one in self.rewards.items()}


def play(
    rule: BanditRule,
    arms: dict[str, Draw],
    *,
    batches: int,
    size: int,
    rng: np.random.Generator,
    late: int = 0,
    beside: dict[str, Draw] | None = None,
) -> Played:
    """The rewards of a batch are known to the policy once `late` further batches are over.

    `beside`: how another outcome of each unit is drawn; none: no period has it.
    """
    names = list(arms)
    shares = dict(zip(names, _even(len(names)), strict=True))
    periods: list[Period] = []
    other: list[Period] = []
    for _ in range(batches):
        counts = dict(
            zip(names, rng.multinomial(size, [share / 100 for share in shares.values()]), strict=True)
        )
        periods.append(Period(dict(shares), _drawn(arms, counts)))
        if beside is not None:
            other.append(Period(dict(shares), _drawn(beside, counts)))
        shares = shares_of(rule, summed(periods[: len(periods) - late], names)) or shares
    return Played(periods, summed(periods, names), other)


def _drawn(draws: dict[str, Draw], counts: dict[str, int]) -> dict[str, Outcomes]:
    found = {}
    for name, count in counts.items():
        drawn = draws[name](int(count))
        sums = Rewards(int(count), float(drawn.sum()), float((drawn * drawn).sum()))
        found[name] = Outcomes(int(count), sums)
    return found


def summed(periods: list[Period], names: list[str]) -> dict[str, Rewards]:
    total = dict.fromkeys(names, Rewards())
    for period in periods:
        for name in names:
            one, other = total[name], period.arms[name].rewards
            total[name] = Rewards(
                one.count + other.count, one.total + other.total, one.squares + other.squares
            )
    return total


def inverse_propensity_mean(periods: list[Period], name: str) -> float:
    """Without any prediction: reward / share, over all units."""
    weighted = sum(100 / p.shares[name] * p.arms[name].rewards.total for p in periods)
    return weighted / sum(p.closed for p in periods)


def radius_for(planned_units: int) -> Callable[[int], float]:
    """Of a two-sided confidence sequence at 5 %, with which a decision is expected after so many units."""
    return lambda units: two_sided_radius(units, planned_units=planned_units, alpha=0.05)


def guarding(planned_units: int) -> Callable[[int], float]:
    """One-sided at 5 %, as a guardrail is."""
    return lambda units: one_sided_radius(units, planned_units=planned_units, alpha=0.05)


def at_once(rule: BanditRule) -> BanditRule:
    """Shares move from the first reward on."""
    return replace(rule, least_rewards=1)


def _even(arms: int) -> list[int]:
    return [100 // arms + (index < 100 % arms) for index in range(arms)]


def play_by_request(
    rule: BanditRule,
    arms: dict[str, Draw],
    *,
    stretches: int,
    size: int,
    moves: int,
    rng: np.random.Generator,
) -> Played:
    """Shares move `moves` times within a stretch of `size` units, each of which says by which shares it was drawn.

    Periods of a stretch are as records tell them: its units by their shares, whenever these held.
    """
    names = list(arms)
    shares = dict(zip(names, _even(len(names)), strict=True))
    periods: list[Period] = []
    rewards = dict.fromkeys(names, Rewards())
    for stretch in range(stretches):
        drawn: dict[tuple[int, ...], dict[str, Outcomes]] = {}
        for _ in range(moves):
            counts = rng.multinomial(size // moves, [share / 100 for share in shares.values()])
            found = _drawn(arms, dict(zip(names, (int(count) for count in counts), strict=True)))
            known = drawn.setdefault(tuple(shares.values()), dict.fromkeys(names, Outcomes()))
            for name, one in found.items():
                known[name] = Outcomes(
                    known[name].closed + one.closed, _sum(known[name].rewards, one.rewards)
                )
                rewards[name] = _sum(rewards[name], one.rewards)
            shares = shares_of(rule, rewards) or shares
        periods += [
            Period(dict(zip(names, by, strict=True)), found, stretch) for by, found in sorted(drawn.items())
        ]
    return Played(periods, rewards, [])


def _sum(one: Rewards, other: Rewards) -> Rewards:
    return Rewards(one.count + other.count, one.total + other.total, one.squares + other.squares)

"""Which share of the requests each arm of a bandit gets next, from sums of the rewards so far.

Shares are whole percents and move in batches: between two moves every request of a batch is assigned with the same,
known probability, and that is what later makes an unbiased estimate possible (`bandit_inference`). Nothing is drawn
here. Thompson sampling assigns an arm with the probability that it is the best one; that probability is integrated
instead of estimated by draws, so the same sums give the same shares on every machine and in every replay.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from scipy.special import betainc, betaincinv, ndtr, ndtri

Name = TypeVar("Name", bound=str)

QUANTILES = 200
"""Points at which the posterior of an arm is looked at; each rival costs a share at most 1 / (2 QUANTILES)."""
LEAST_REWARDS = 30
"""Rewards that every arm must have before shares move: with fewer a mean is nearly chance."""


class Policy(StrEnum):
    """How shares follow from rewards; named as the field of the file."""

    EPSILON_GREEDY = "EpsilonGreedy"
    """The best mean gets all but epsilon, which all arms share equally."""
    UCB1 = "UCB1"
    """The best upper confidence bound gets everything above the floor (Auer et al. 2002)."""
    THOMPSON = "Thompson"
    """An arm gets the probability that it is the best (Thompson 1933)."""


@dataclass(frozen=True)
class Rewards:
    """The rewards of one arm as sums; more is better."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    cubes: float = 0.0
    """For inference alone: policies go by the sums above."""

    @property
    def mean(self) -> float:
        """Raises ZeroDivisionError without rewards."""
        return self.total / self.count

    @property
    def variance(self) -> float:
        """Of the rewards around their mean (ddof 1); 0 with fewer than two."""
        if self.count < 2:
            return 0.0
        return max(self.squares - self.total * self.total / self.count, 0.0) / (self.count - 1)


NOTHING = Rewards()


@dataclass(frozen=True)
class BanditRule:
    """How shares follow from rewards."""

    policy: Policy = Policy.THOMPSON
    floor: int = 5
    """Least share of every arm in percent: what keeps on being learned about it."""
    epsilon: float = 0.1
    """Share that EpsilonGreedy divides equally between all arms."""
    is_binary: bool = False
    """True: rewards are 0 or 1, and Thompson has a Beta posterior; False: a Gaussian one."""
    reach: float = 1.0
    """Length of the interval in which rewards lie; UCB1 alone needs it."""
    least_rewards: int = LEAST_REWARDS


def shares_of(rule: BanditRule, rewards: Mapping[Name, Rewards]) -> dict[Name, int] | None:
    """Whole percents that make 100, none below the floor; None while an arm has too few rewards to go by.

    The order of the arms settles which of equal remainders is rounded up, and nothing else. Raises ValueError for
    sums that are no numbers and for a floor that the arms together can't have.
    """
    if not all(math.isfinite(one.total) and math.isfinite(one.squares) for one in rewards.values()):
        raise ValueError(f"rewards: {dict(rewards)} are not finite")
    if not rewards or any(one.count < rule.least_rewards for one in rewards.values()):
        return None
    wanted = preferences(rule, list(rewards.values()))
    return dict(zip(rewards, whole_shares(wanted, rule.floor), strict=True))


def drawn_shares(
    rule: BanditRule, rewards: Mapping[Name, Rewards], closed: Collection[str] = ()
) -> dict[Name, int]:
    """Whole percents by which a router draws each request, once it was told these rewards.

    A closed arm has 0; arms of which one has too few rewards have equal shares. Raises ValueError as `shares_of` does,
    and where every arm is closed.
    """
    able = {name: one for name, one in rewards.items() if name not in closed}
    if not able:
        raise ValueError(f"closed: {sorted(closed)} leaves no arm open")
    shares = shares_of(rule, able)
    if shares is None:
        shares = dict(zip(able, whole_shares([1 / len(able)] * len(able), 0), strict=True))
    return {name: shares.get(name, 0) for name in rewards}


def preferences(rule: BanditRule, rewards: Sequence[Rewards]) -> list[float]:
    """What the policy alone would give to each arm, before the floor; sums to 1."""
    match rule.policy:
        case Policy.EPSILON_GREEDY:
            even = rule.epsilon / len(rewards)
            return [
                even + (1 - rule.epsilon) * share for share in _to_the_largest([one.mean for one in rewards])
            ]
        case Policy.UCB1:
            return _to_the_largest(upper_bounds(rewards, rule.reach))
        case Policy.THOMPSON:
            return chances_to_be_best(rewards, is_binary=rule.is_binary)


def upper_bounds(rewards: Sequence[Rewards], reach: float = 1.0) -> list[float]:
    """mean + reach sqrt(2 ln t / n), where t are the rewards of all arms (Auer et al. 2002)."""
    log_all = math.log(sum(one.count for one in rewards))
    return [one.mean + reach * math.sqrt(2 * log_all / one.count) for one in rewards]


def chances_to_be_best(rewards: Sequence[Rewards], *, is_binary: bool) -> list[float]:
    """The posterior probability of each arm to have the highest mean; sums to 1.

    Binary rewards: Beta(1 + ones, 1 + zeros). Others: N(mean, variance / n). An arm is compared with its rivals at
    the quantiles of its own posterior, which resolves posteriors of very different widths alike.
    """
    posteriors = [_Beta(one) if is_binary else _Normal(one) for one in rewards]
    chances = []
    for index, arm in enumerate(posteriors):
        points = arm.quantiles()
        below = [1.0] * len(points)
        for other, rival in enumerate(posteriors):
            if other != index:
                below = [so_far * share for so_far, share in zip(below, rival.below(points), strict=True)]
        chances.append(math.fsum(below) / len(points))
    whole = math.fsum(chances)
    return [chance / whole for chance in chances]


_LEVELS = [(step + 0.5) / QUANTILES for step in range(QUANTILES)]
_NORMAL_POINTS: list[float] = ndtri(_LEVELS).tolist()


class _Beta:
    def __init__(self, rewards: Rewards) -> None:
        self._ones = 1 + rewards.total
        self._zeros = 1 + rewards.count - rewards.total

    def quantiles(self) -> list[float]:
        points: list[float] = betaincinv(self._ones, self._zeros, _LEVELS).tolist()
        return points

    def below(self, points: list[float]) -> list[float]:
        shares: list[float] = betainc(self._ones, self._zeros, points).tolist()
        return shares


class _Normal:
    def __init__(self, rewards: Rewards) -> None:
        self._mean = rewards.mean
        self._error = math.sqrt(rewards.variance / rewards.count)

    def quantiles(self) -> list[float]:
        return [self._mean + self._error * point for point in _NORMAL_POINTS]

    def below(self, points: list[float]) -> list[float]:
        if self._error == 0:
            # Rewards that are all the same: the posterior is one point, and half of a tie is below it.
            return [0.5 if point == self._mean else float(point > self._mean) for point in points]
        shares: list[float] = ndtr([(point - self._mean) / self._error for point in points]).tolist()
        return shares


def _to_the_largest(values: Sequence[float]) -> list[float]:
    """1 for the largest value, divided equally where several are equal."""
    largest = max(values)
    ties = [value == largest for value in values]
    return [float(is_tie) / sum(ties) for is_tie in ties]


def whole_shares(wanted: Sequence[float], floor: int) -> list[int]:
    """Whole percents nearest to `wanted`, which sums to 1: none below `floor`, together 100 (largest remainders).

    What the floor takes, the arms above it give in proportion. Raises ValueError if the floors make more than 100.
    """
    if floor * len(wanted) > 100:
        raise ValueError(f"floor: {floor} % for each of {len(wanted)} arms is more than 100 %")
    raised: set[int] = set()
    while True:
        free = 100 - floor * len(raised)
        others = math.fsum(share for index, share in enumerate(wanted) if index not in raised)
        shares = [
            float(floor) if index in raised else free * share / others if others > 0 else free / len(wanted)
            for index, share in enumerate(wanted)
        ]
        low = {index for index, share in enumerate(shares) if share < floor} - raised
        if not low:
            break
        raised |= low
    whole = [math.floor(share) for share in shares]
    # Remainders that differ by a rounding error of the machine are equal, and go by the order of the arms.
    remainders = [round(share - part, 9) for share, part in zip(shares, whole, strict=True)]
    order = sorted(range(len(whole)), key=lambda index: (-remainders[index], index))
    for index in order[: 100 - sum(whole)]:
        whole[index] += 1
    return whole

"""What a bandit's rewards say about its arms, though the arms were not chosen blindly.

A bandit looks away from an arm after bad luck, so plain means of its arms are too low (Nie et al. 2018). Here each
reward counts by the inverse of the share that its arm had when the unit was assigned: inverse propensity weighting,
with the earlier mean as its prediction (augmented, AIPW), so scores are unbiased whatever the policy did. The
difference of two arms is weighted by period so that its noise stays the same while shares move (Hadad et al. 2021),
which is what the confidence sequence asks for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from capstan.domain.verdicts.bandits import NOTHING, Rewards


@dataclass(frozen=True)
class Outcomes:
    """The units of one arm in one period whose window is over."""

    closed: int = 0
    rewards: Rewards = NOTHING
    """Of the closed units those that have an outcome."""


@dataclass(frozen=True)
class Period:
    """The units that were assigned while the shares stood still."""

    shares: Mapping[str, int]
    """Whole percents with which units were assigned."""
    arms: Mapping[str, Outcomes]
    stretch: object = None
    """Periods of one stretch, which follow each other, lay side by side in time: their units took turns, each drawn by
    its own shares. None: the period is a stretch by itself.
    """

    @property
    def closed(self) -> int:
        return sum(arm.closed for arm in self.arms.values())


@dataclass(frozen=True)
class Difference:
    """An arm's mean reward less another's; the bounds hold at all looks at once."""

    estimate: float
    lower: float
    """Infinite where too few units bound it."""
    upper: float
    units: int
    """Closed units of all arms that it rests on."""
    skewness: float = 0.0
    """Of the estimate: far from 0 it is not nearly Gaussian, and the bounds can't be trusted."""


UNKNOWN = Difference(0.0, -math.inf, math.inf, 0)
"""What is known of a difference before both arms have rewards."""


def mean_reward(periods: Sequence[Period], arm: str) -> float | None:
    """The arm's mean over all units, had all of them met it (AIPW); None without a reward of its own."""
    total, units, earlier = 0.0, 0, Rewards()
    for stretch in _stretches(periods):
        found = _together(stretch, arm)
        if not _is_known(found, earlier):
            continue
        expected = (earlier if earlier.count else found.rewards).mean
        for period in stretch:
            here = period.arms.get(arm, Outcomes()).rewards
            residual = here.total - here.count * expected
            total += period.closed * expected + _weight(period, arm, found) * residual
            units += period.closed
        earlier = _add(earlier, found.rewards)
    return total / units if units else None


def difference(
    periods: Sequence[Period], arm: str, control: str, *, radius: Callable[[int], float]
) -> Difference:
    """Mean reward of `arm` less that of `control`, with bounds that hold at all looks if `radius` does.

    `radius`: of a confidence sequence in standard deviations, after so many closed units. Valid for thousands of
    independent units (asymptotically), each with its outcome however late it came.
    """
    scored = list(_scores(periods, arm, control))
    units = sum(score.units for score in scored)
    scale = math.fsum(score.weight * score.units for score in scored)
    if units < 2 or scale == 0:
        return UNKNOWN
    estimate = math.fsum(score.weight * score.total for score in scored) / scale
    squares = math.fsum(score.weight**2 * score.squares_around(estimate) for score in scored)
    spread = math.sqrt(squares / (units - 1)) * units / scale
    if not spread > 0:
        # Rewards that are all the same are no measure of noise.
        return Difference(estimate, -math.inf, math.inf, units)
    reach = radius(units) * spread
    cubes = math.fsum(score.weight**3 * score.cubes_around(estimate) for score in scored)
    return Difference(estimate, estimate - reach, estimate + reach, units, cubes / squares**1.5)


@dataclass(frozen=True)
class Regret:
    """What was not gained, in rewards, by units that met another arm than the best one."""

    bandit: float
    even: float
    """What the same units would have lost in equal shares."""


def regret(assigned: Mapping[str, int], means: Mapping[str, float]) -> Regret:
    """Regret of so many units by arm, where the arms are worth `means`: estimates, or in a simulation the truth."""
    best = max(means.values())
    lost = math.fsum(assigned.get(arm, 0) * (best - mean) for arm, mean in means.items())
    units = sum(assigned.get(arm, 0) for arm in means)
    return Regret(lost, units * math.fsum(best - mean for mean in means.values()) / len(means))


@dataclass(frozen=True)
class _Score:
    """The scores of one period's units: their number, sum and sum of squares, and what the period weighs."""

    units: int
    total: float
    squares: float
    cubes: float
    weight: float

    def squares_around(self, value: float) -> float:
        return max(self.squares - 2 * value * self.total + self.units * value * value, 0.0)

    def cubes_around(self, value: float) -> float:
        return math.fsum(
            [self.cubes, -3 * value * self.squares, 3 * value**2 * self.total, -self.units * value**3]
        )


def _scores(periods: Sequence[Period], arm: str, control: str) -> Iterator[_Score]:
    """Only what earlier stretches said predicts a reward and weighs a period; the first one goes by itself."""
    earlier = {arm: Rewards(), control: Rewards()}
    for stretch in _stretches(periods):
        found = {name: _together(stretch, name) for name in earlier}
        if not all(_is_known(found[name], earlier[name]) for name in earlier):
            continue
        here = {name: outcomes.rewards for name, outcomes in found.items()}
        known = all(rewards.count > 1 for rewards in earlier.values())
        expected, noise = _predicted(earlier if known else here, is_first=not known)
        earlier = {name: _add(earlier[name], rewards) for name, rewards in here.items()}
        for period in stretch:
            if not all(period.shares.get(name) for name in (arm, control)):
                # Its units could not meet one of the two, so they say nothing of the difference.
                continue
            if (score := _score(period, arm, control, found, expected, noise)) is not None:
                yield score


def _score(
    period: Period,
    arm: str,
    control: str,
    found: Mapping[str, Outcomes],
    expected: Mapping[str, float],
    noise: Mapping[str, float],
) -> _Score | None:
    """Scores of the period's units, `found` being the outcomes of its stretch; None where they can't be weighed."""
    gap = expected[arm] - expected[control]
    total, squares, cubes = (period.closed * gap**power for power in (1, 2, 3))
    for name, sign in ((arm, 1), (control, -1)):
        rewards = period.arms.get(name, Outcomes()).rewards
        weight = _weight(period, name, found[name])
        first, second, third = _residuals(rewards, expected[name])
        total += sign * weight * first
        squares += 2 * gap * sign * weight * first + weight**2 * second
        cubes += 3 * gap * gap * sign * weight * first + 3 * gap * weight**2 * second
        cubes += sign * weight**3 * third
    variance = math.fsum(100 / period.shares[name] * noise[name] for name in (arm, control))
    return _Score(period.closed, total, squares, cubes, 1 / math.sqrt(variance)) if variance > 0 else None


def _stretches(periods: Sequence[Period]) -> Iterator[list[Period]]:
    """Periods that lay side by side, together: none of them is earlier than another."""
    stretch: list[Period] = []
    for period in periods:
        if stretch and (period.stretch is None or period.stretch != stretch[0].stretch):
            yield stretch
            stretch = []
        stretch.append(period)
    if stretch:
        yield stretch


def _together(stretch: Sequence[Period], arm: str) -> Outcomes:
    """The arm's outcomes in all periods of a stretch."""
    whole = Outcomes()
    for period in stretch:
        found = period.arms.get(arm, Outcomes())
        whole = Outcomes(whole.closed + found.closed, _add(whole.rewards, found.rewards))
    return whole


def _residuals(rewards: Rewards, expected: float) -> tuple[float, float, float]:
    """Sums of what the rewards are above `expected`, of its squares and of its cubes."""
    count, total, squares = rewards.count, rewards.total, rewards.squares
    first = total - count * expected
    second = max(squares - 2 * expected * total + count * expected**2, 0.0)
    third = math.fsum([rewards.cubes, -3 * expected * squares, 3 * expected**2 * total, -count * expected**3])
    return first, second, third


def _is_known(found: Outcomes, earlier: Rewards) -> bool:
    """Whether a period counts: one in which nobody met the arm still does, by what earlier ones said of it."""
    return found.rewards.count > 0 or (not found.closed and earlier.count > 0)


def _predicted(known: Mapping[str, Rewards], *, is_first: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Expected reward and variance by arm. In the first period one mean serves both, so that it takes no side."""
    noise = {name: rewards.variance for name, rewards in known.items()}
    if not is_first:
        return {name: rewards.mean for name, rewards in known.items()}, noise
    both = Rewards()
    for rewards in known.values():
        both = _add(both, rewards)
    return dict.fromkeys(known, both.mean), noise


def _weight(period: Period, arm: str, found: Outcomes) -> float:
    """1 / (share of the arm x share of its closed units in the stretch that have an outcome); 0 where nobody should
    meet it.
    """
    if not found.rewards.count or not period.shares.get(arm):
        return 0.0
    return 100 / period.shares[arm] * found.closed / found.rewards.count


def _add(one: Rewards, other: Rewards) -> Rewards:
    return Rewards(
        one.count + other.count,
        one.total + other.total,
        one.squares + other.squares,
        one.cubes + other.cubes,
    )

"""How many units and how long an experiment needs, told before it begins.

Tests of one look: n = (z(1-alpha/2) + z(power))^2 variance / effect^2. The test that may be looked at all the time:
first passage over its bound. At 80 % power it needs about 1.65 times as many, and decides half of all experiments a
little sooner than one look would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import timedelta

from scipy.special import ndtri

from capstan.domain.verdicts.experiments import ExperimentRule, Test
from capstan.domain.verdicts.first_passage import first_passage
from capstan.domain.verdicts.skewness import units_until_gaussian

FARTHEST = 10**12
"""Units beyond which an experiment counts as never ending."""
_RANKS_VARIANCE = 1 / 12
"""Of a unit's rank as a share, where arms are nearly alike (Noether 1987)."""
_PASSAGES = (4.0, 16.0, 64.0, 256.0)
"""Times the units of one look until which the always-valid test is followed; well planned, the first is enough."""


@dataclass(frozen=True)
class ExperimentDesign:
    """What an experiment is to find, and by which rule."""

    effect: float
    """Least difference, arm less control, that is to be found; MannWhitney: of the chance to be above control, less a
    half. Its sign does not matter, except for `base`."""
    variance: float = 0.0
    """Of a unit's outcome, from history; unused with `base` and for MannWhitney."""
    skewness: float = 0.0
    """Of a unit's outcome, from history; unused with `base`. It costs always-valid units where arms differ in size."""
    base: float | None = None
    """Share of 1 among control's outcomes; None: outcomes are no shares."""
    rule: ExperimentRule = field(default_factory=ExperimentRule)
    """`comparisons` counts challengers times metrics."""
    shares: tuple[int, ...] = (1, 1)
    """Weights of the arms, control's first."""
    power: float = 0.8
    """Chance to find the effect in the smallest challenger's arm."""
    guardrails: int = 0
    """That must pass, too: each takes its part of the missing power (Schultzberg et al. 2024)."""
    variance_reduction: float = 0.0
    """Squared correlation of outcome and covariate, which CUPED takes away."""
    design_effect: float = 1.0
    """1 + (M - 1) ICC where units come in clusters of M."""

    @property
    def needed_power(self) -> float:
        """Of the comparison alone, so that guardrails pass as well."""
        return 1 - (1 - self.power) / (self.guardrails + 1)

    @property
    def pooled_variance(self) -> float:
        """n (s1^2/n1 + s0^2/n0): of a unit, in the smallest challenger's arm and control together."""
        control, arm = self._variances
        total = self.pair
        pooled = total * (control / self.shares[0] + arm / min(self.shares[1:]))
        return pooled * (1 - self.variance_reduction) * self.design_effect

    @property
    def pair(self) -> int:
        """Weight of control and the smallest challenger."""
        return self.shares[0] + min(self.shares[1:])

    @property
    def least_units(self) -> int:
        """Units of the pair before the test says anything."""
        if self.rule.test is not Test.ALWAYS_VALID:
            return 4
        skewness = self.skewness
        if self.base is not None:
            spread = math.sqrt(self.base * (1 - self.base))
            skewness = (1 - 2 * self.base) / spread if spread else 0.0
        control = self.shares[0] / self.pair
        return max(self.rule.least_units, units_until_gaussian(skewness, control, 1 - control))

    @property
    def _variances(self) -> tuple[float, float]:
        if self.rule.test is Test.MANN_WHITNEY:
            return _RANKS_VARIANCE, _RANKS_VARIANCE
        if self.base is None:
            return self.variance, self.variance
        other = min(max(self.base + self.effect, 0.0), 1.0)
        return self.base * (1 - self.base), other * (1 - other)


@dataclass(frozen=True)
class SampleSize:
    """Units that an experiment needs."""

    units: int
    """Of all arms together, for the power asked for."""
    pair_units: int
    """Of control and the smallest challenger: what `planned_units` is best set to."""
    median_units: int
    """Of all arms, by which half of the experiments that find their effect have; as `units` for tests of one look."""


def sample_size(design: ExperimentDesign) -> SampleSize | None:
    """Units that find the effect with the power asked for; None: no number of units does.

    Within 2 points of simulated power where outcomes are nearly Gaussian or arms have hundreds of units.
    """
    alpha, power = design.rule.interval_alpha, design.needed_power
    variance = design.pooled_variance
    if design.effect == 0 or not math.isfinite(variance):
        return None
    drift = math.inf if variance == 0 else abs(design.effect) / math.sqrt(variance)
    one_look = ((float(ndtri(1 - alpha / 2)) + float(ndtri(power))) / drift) ** 2
    if one_look > FARTHEST:
        return None
    least = design.least_units
    median: float = one_look
    if design.rule.test is Test.ALWAYS_VALID:
        decided = _first_passage(drift, one_look, least, design)
        if decided is None:
            return None
        one_look, median = decided
    everybody = sum(design.shares) / design.pair
    pair = max(math.ceil(one_look), least)
    return SampleSize(
        units=math.ceil(pair * everybody),
        pair_units=pair,
        median_units=math.ceil(max(median, least) * everybody),
    )


def _first_passage(
    drift: float, one_look: float, least: int, design: ExperimentDesign
) -> tuple[float, float] | None:
    """Units until the power asked for, and until half; None: not within the farthest that is followed."""
    if one_look * _PASSAGES[-1] <= least:
        return least, least
    for times in _PASSAGES:
        passage = first_passage(
            drift,
            first=least,
            last=max(one_look * times, 2 * least),
            planned_units=design.rule.planned_units,
            alpha=design.rule.interval_alpha,
        )
        found, half = passage.reaches(design.needed_power), passage.reaches(0.5)
        if found is not None and half is not None:
            return found, half
    return None


def tuned(design: ExperimentDesign) -> ExperimentDesign:
    """The design whose always-valid test is planned for about the units at which it decides."""
    one_look = replace(design, rule=replace(design.rule, test=Test.WELCH))
    found = sample_size(one_look)
    if found is None:
        return design
    planned = max(found.pair_units, design.least_units)
    return replace(design, rule=replace(design.rule, planned_units=planned))


def run_time(
    units: int, *, units_per_day: float, window: timedelta = timedelta(0), delay: timedelta = timedelta(0)
) -> timedelta:
    """From the first assignment until `units` have closed: days of traffic, the unit's window, its labels' delay.

    `units_per_day` are new units of all arms; raises ValueError where there are none.
    """
    if not units_per_day > 0:
        raise ValueError(f"units_per_day: {units_per_day} must be above 0")
    return timedelta(days=math.ceil(units / units_per_day)) + window + delay


def detectable_effect(design: ExperimentDesign, units: int) -> float | None:
    """The smallest effect, of the design's sign, that `units` of all arms find with its power; None: none at all."""
    sign = -1.0 if design.effect < 0 else 1.0
    most = _most_effect(design, sign)

    def finds(effect: float) -> bool:
        found = sample_size(replace(design, effect=sign * effect))
        return found is not None and found.units <= units

    if not most or not finds(most):
        return None
    low, high = 0.0, most
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if finds(middle) else (middle, high)
        if high - low <= 1e-3 * high:
            break
    return high


def infeasible_experiment(
    design: ExperimentDesign,
    *,
    deadline: timedelta,
    units_per_day: float,
    window: timedelta = timedelta(0),
    delay: timedelta = timedelta(0),
) -> str | None:
    """Why the deadline cannot be met, with the ways out; None when the effect is found in time with its power."""
    found = sample_size(design)
    after = deadline - window - delay
    available = int(units_per_day * max(after / timedelta(days=1), 0.0))
    if found is not None and found.units <= available:
        return None
    ways = []
    affordable = detectable_effect(design, available) if available > 0 else None
    if affordable is not None:
        ways.append(f"look for an effect of {math.copysign(affordable, design.effect):+.3g}")
    if found is None:
        needs = "no number of units finds it"
    elif units_per_day > 0:
        needed = run_time(found.units, units_per_day=units_per_day, window=window, delay=delay)
        needs = f"it takes {found.units:,} units, which are {_days(needed)}"
        ways.append(f"deadline: {math.ceil(needed / timedelta(days=1))}d")
    else:
        needs = f"it takes {found.units:,} units, and no traffic is known"
    if design.variance_reduction == 0 and design.base is None and design.rule.test is not Test.MANN_WHITNEY:
        ways.append("a covariate, which makes the variance smaller")
    if design.rule.test is Test.ALWAYS_VALID:
        ways.append("a test of one look")
    if len(design.shares) > 2 or min(design.shares) < max(design.shares):
        ways.append("fewer arms or equal shares")
    return (
        f"{_days(deadline)} cannot be met: to find an effect of {design.effect:+.3g} with a power of "
        f"{design.power:.0%} at alpha {design.rule.interval_alpha:.3g} by {design.rule.test} {needs}, and "
        f"{available:,} units are over by then; ways out: {' | '.join(ways) if ways else 'more traffic'}"
    )


def _most_effect(design: ExperimentDesign, sign: float) -> float:
    if design.rule.test is Test.MANN_WHITNEY:
        return 0.5
    if design.base is not None:
        return design.base if sign < 0 else 1 - design.base
    return 100 * math.sqrt(design.variance)


def _days(duration: timedelta) -> str:
    return f"{duration / timedelta(days=1):.3g}d"

"""Whether an arm of an experiment differs from control: the effect, its interval and the sentence that says so.

Units are independent by random assignment; each counts once. Every function here needs counts, means and variances
only. Corrections for several comparisons are Holm's on p-values, and an e-value e counts as the p-value 1/e.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scipy.special import ndtr, ndtri, stdtr, stdtrit

from capstan.domain.reasons import Reason
from capstan.domain.verdicts.analysis import AnalysisResult, Verdict
from capstan.domain.verdicts.blocks import BlockSums
from capstan.domain.verdicts.confidence import log_bayes_factor, two_sided_radius
from capstan.domain.verdicts.evidence import RankSums
from capstan.domain.verdicts.intervals import interval, is_open
from capstan.domain.verdicts.quality import NOT_DECIDED
from capstan.domain.verdicts.skewness import LARGEST_SKEWNESS, difference_skewness

LEAST_UNITS = 500
"""Units of both arms below which the always-valid test of means is not trusted, as values are not Gaussian."""
UNITS_PER_SQUARED_SKEWNESS = 355
"""An arm needs this many units times its squared skewness before its mean is nearly Gaussian (Kohavi et al. 2014)."""


class Test(StrEnum):
    """How arms are compared."""

    __test__ = False  # pytest takes it for a class of tests

    ALWAYS_VALID = "AlwaysValid"
    """Difference of means by the t-mixture; may be looked at again and again."""
    WELCH = "Welch"
    """Difference of means by Welch's t-test; one look, at an end fixed beforehand."""
    PROPORTIONS = "Proportions"
    """Difference of shares of 1 by the pooled z-test, interval of Newcombe (1998); one look."""
    MANN_WHITNEY = "MannWhitney"
    """Chance that a unit of the arm is above one of control, less a half; one look."""


class Better(StrEnum):
    """Which values of a metric are wanted."""

    HIGHER = "Higher"
    LOWER = "Lower"


@dataclass(frozen=True)
class ArmMoments:
    """The units of one arm that have an outcome."""

    units: int
    mean: float
    variance: float
    """ddof 1."""
    skewness: float = 0.0
    """Third standardised moment; what it costs to leave it out: see `skewness`."""

    @classmethod
    def of_sums(cls, units: int, total: float, squares: float, cubes: float = 0.0) -> ArmMoments:
        """From sums of outcomes, of their squares and cubes; sums of outcomes less a common centre lose no digits."""
        if units < 2:
            return cls(units, total, 0.0)
        mean = total / units
        second = max(squares / units - mean * mean, 0.0)
        third = cubes / units - 3 * mean * squares / units + 2 * mean**3
        return cls(units, mean, second * units / (units - 1), third / second**1.5 if second else 0.0)


@dataclass(frozen=True)
class Effect:
    """An arm less control."""

    difference: float
    lower: float
    """Infinite where too few units bound it."""
    upper: float
    p_value: float
    """Two-sided; of an e-value the smaller of 1 and 1/e."""
    log_e: float | None = None
    """ln of the e-value; None for tests of one look."""


@dataclass(frozen=True)
class ExperimentRule:
    """What was fixed before the experiment began."""

    test: Test = Test.ALWAYS_VALID
    better: Better = Better.HIGHER
    alpha: float = 0.05
    """Chance that any comparison is called a difference where none of them has one."""
    comparisons: int = 1
    """Challengers times metrics."""
    planned_units: int = 5000
    """Units of both arms at which a decision is expected; tunes the width, never the error."""
    least_units: int = LEAST_UNITS
    """Units of both arms before the always-valid test says anything."""

    @property
    def interval_alpha(self) -> float:
        """Intervals of all comparisons hold together (Bonferroni)."""
        return self.alpha / self.comparisons


NO_EFFECT = Effect(0.0, -math.inf, math.inf, 1.0)
"""What is known of an effect before the first comparable units."""


def always_valid(control: ArmMoments, arm: ArmMoments, *, alpha: float, planned_units: int) -> Effect:
    """Difference of means by the t-mixture with the pooled variance n (s1^2/n1 + s0^2/n0).

    It bounds nothing while arms of different sizes leave the difference skewed (see `skewness`).
    """
    difference = arm.mean - control.mean
    error = _standard_error(control, arm)
    if error == 0 or is_skewed(control, arm):
        return Effect(difference, -math.inf, math.inf, 1.0, 0.0)
    units = control.units + arm.units
    radius = two_sided_radius(units, planned_units=planned_units, alpha=alpha) * math.sqrt(units) * error
    log_e = log_bayes_factor(units, difference / error, planned_units=planned_units, alpha=alpha)
    return Effect(difference, difference - radius, difference + radius, _p_of(log_e), log_e)


def is_skewed(control: ArmMoments, arm: ArmMoments) -> bool:
    """Whether the difference of means is too skewed for a test that is looked at all the time."""
    units = control.units + arm.units
    second = (control.units * control.variance + arm.units * arm.variance) / units
    if second <= 0:
        return False
    third = sum(one.units * one.skewness * one.variance**1.5 for one in (control, arm)) / units
    return difference_skewness(third / second**1.5, control.units, arm.units) > LARGEST_SKEWNESS


def always_valid_of_blocks(sums: BlockSums, *, alpha: float, planned_blocks: int) -> Effect:
    """The same of blocks of units, where S is a block's difference times its units."""
    radius = two_sided_radius(sums.blocks, planned_units=planned_blocks, alpha=alpha)
    lower, upper = sums.bounds(radius)
    t = sums.t_statistic(0.0)
    if not math.isfinite(t):
        # Blocks that all say the same are no measure of noise.
        return Effect(sums.difference, -math.inf, math.inf, 1.0, 0.0)
    log_e = log_bayes_factor(sums.blocks, t, planned_units=planned_blocks, alpha=alpha)
    return Effect(sums.difference, lower, upper, _p_of(log_e), log_e)


def welch(control: ArmMoments, arm: ArmMoments, *, alpha: float) -> Effect:
    """Difference of means by Welch's t-test with Satterthwaite's degrees of freedom."""
    difference = arm.mean - control.mean
    error = _standard_error(control, arm)
    if error == 0:
        return Effect(difference, -math.inf, math.inf, 1.0)
    parts = [(one.variance / one.units, one.units - 1) for one in (control, arm)]
    degrees = error**4 / sum(part * part / free for part, free in parts)
    radius = float(stdtrit(degrees, 1 - alpha / 2)) * error
    p_value = 2 * float(stdtr(degrees, -abs(difference) / error))
    return Effect(difference, difference - radius, difference + radius, p_value)


def proportions(control: ArmMoments, arm: ArmMoments, *, alpha: float) -> Effect:
    """Difference of shares: p-value of the pooled z-test, Newcombe's interval from two of Wilson (1998)."""
    difference = arm.mean - control.mean
    pooled = (control.mean * control.units + arm.mean * arm.units) / (control.units + arm.units)
    error = math.sqrt(max(pooled * (1 - pooled), 0.0) * (1 / control.units + 1 / arm.units))
    p_value = 2 * float(ndtr(-abs(difference) / error)) if error else 1.0
    low_0, high_0 = wilson(control.mean, control.units, alpha=alpha)
    low_1, high_1 = wilson(arm.mean, arm.units, alpha=alpha)
    below = math.hypot(arm.mean - low_1, high_0 - control.mean)
    above = math.hypot(high_1 - arm.mean, control.mean - low_0)
    return Effect(difference, difference - below, difference + above, p_value)


def mann_whitney(ranks: RankSums, *, alpha: float) -> Effect:
    """P(arm above control) + P(equal)/2 - 1/2: p-value of Mann and Whitney (1947), interval of DeLong et al. (1988).

    The p-value is the Gaussian one with correction for ties and continuity.
    """
    units, control = ranks.units, ranks.control_units
    pairs, both = units * control, units + control
    difference = ranks.won_twice / (2 * pairs) - 0.5
    spread = math.sqrt(pairs / 12 * (both + 1 - ranks.ties / (both * (both - 1))))
    distance = max(abs(ranks.won_twice / 2 - pairs / 2) - 0.5, 0.0)
    p_value = min(2 * float(ndtr(-distance / spread)), 1.0) if spread else 1.0
    error = math.sqrt(ranks.variance / units + ranks.control_variance / control)
    return rank_effect(difference, error, p_value, alpha=alpha)


def rank_effect(difference: float, error: float, p_value: float, *, alpha: float) -> Effect:
    """The interval of a share of pairs above one half, of that standard error; unbounded where it is 0."""
    if error == 0:
        return Effect(difference, -math.inf, math.inf, p_value)
    radius = float(ndtri(1 - alpha / 2)) * error
    return Effect(difference, max(difference - radius, -0.5), min(difference + radius, 0.5), p_value)


def wilson(share: float, units: int, *, alpha: float) -> tuple[float, float]:
    """Wilson's interval of one share, from counts of `units`."""
    z = float(ndtri(1 - alpha / 2))
    scale = 1 + z * z / units
    centre = (share + z * z / (2 * units)) / scale
    radius = z / scale * math.sqrt(share * (1 - share) / units + z * z / (4 * units * units))
    return max(centre - radius, 0.0), min(centre + radius, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values that may each be compared with alpha, in the order given (Holm 1979)."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def judge_effect(
    effect: Effect,
    rule: ExperimentRule,
    *,
    what: str,
    adjusted: float,
    units: int,
    first_shown: str | None = None,
    favours: float | None = None,
) -> AnalysisResult:
    """The verdict of one comparison and the sentence that tells its rule and what it may have missed.

    `what` names the comparison ("treatment less control of revenue"), `adjusted` is Holm's p-value, `first_shown`
    says after which block the bound was first crossed, and `favours` the difference at that look; None: the
    present one.
    """
    found = describe(effect, rule)
    numbers = {
        name: value
        for name, value in vars(effect).items()
        if isinstance(value, float) and math.isfinite(value)
    }
    numbers |= {"adjusted_p": adjusted, "alpha": rule.alpha, "units": float(units)}
    if rule.test is Test.ALWAYS_VALID and units < rule.least_units:
        short = f"too early to judge {what}: {units:,} of {rule.least_units:,} units; {found}"
        return AnalysisResult(
            Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_EVIDENCE, short, numbers, premature=True
        )
    if math.isinf(effect.lower) and adjusted > rule.alpha:
        message = (
            f"{what}: the values vary too little, are too few, or are too skewed for arms of so different sizes, to "
            f"bound the difference; {found}"
        )
        return AnalysisResult(Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_EVIDENCE, message, numbers)
    if adjusted > rule.alpha:
        message = (
            f"{what}: not decided by {_named(rule)}; {found}; it may have missed any true difference between "
            f"{effect.lower:+.4g} and {effect.upper:+.4g}"
        )
        return AnalysisResult(Verdict.INCONCLUSIVE, NOT_DECIDED, message, numbers)
    sign = effect.difference if favours is None else favours
    is_better = (sign > 0) is (rule.better is Better.HIGHER)
    since = f", first {first_shown}, which later looks do not undo" if first_shown is not None else ""
    least = min(abs(effect.lower), abs(effect.upper)) if effect.lower * effect.upper > 0 else 0.0
    message = (
        f"{what}: shown {'better' if is_better else 'worse'} by {_named(rule)}{since}; {found}; "
        f"the true difference may be as small as {least:.4g}"
    )
    verdict, reason = (Verdict.SUCCESSFUL, "ShownBetter") if is_better else (Verdict.FAILED, "ShownWorse")
    return AnalysisResult(verdict, reason, message, numbers)


def describe(effect: Effect, rule: ExperimentRule) -> str:
    """The effect with its interval and its p- or e-value."""
    evidence = f"p {effect.p_value:.3g}" if effect.log_e is None else f"e-value {_e_text(effect.log_e)}"
    if is_open(effect.lower, effect.upper):
        return f"difference {effect.difference:+.4g}, which nothing bounds yet, {evidence} ({rule.better} is better)"
    return (
        f"difference {effect.difference:+.4g}, {100 * (1 - rule.interval_alpha):.4g}% interval "
        f"{interval(effect.lower, effect.upper)}, {evidence} ({rule.better} is better)"
    )


def _named(rule: ExperimentRule) -> str:
    several = f", Holm over {rule.comparisons} comparisons" if rule.comparisons > 1 else ""
    looks = "at any look" if rule.test is Test.ALWAYS_VALID else "at one look, which was fixed beforehand"
    return f"{rule.test} at {rule.alpha:g} {looks}{several}"


def _e_text(log_e: float) -> str:
    return f"{math.exp(log_e):.3g}" if log_e < 300 else f"1e{log_e / math.log(10):.0f}"


def _p_of(log_e: float) -> float:
    return min(1.0, math.exp(-max(log_e, 0.0)))


def _standard_error(control: ArmMoments, arm: ArmMoments) -> float:
    return math.sqrt(control.variance / control.units + arm.variance / arm.units)

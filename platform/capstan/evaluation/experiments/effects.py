"""Effects of arms from the outcomes of their units."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from capstan.domain.verdicts.experiments import (
    NO_EFFECT,
    ArmMoments,
    Effect,
    ExperimentRule,
    Test,
    always_valid,
    proportions,
    rank_effect,
    welch,
)

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def moments(values: Floats) -> ArmMoments:
    """Of outcomes without NaN; variance and skewness of fewer than two are 0."""
    if len(values) < 2:
        return ArmMoments(len(values), float(values.mean()) if len(values) else 0.0, 0.0)
    return ArmMoments(len(values), float(values.mean()), float(values.var(ddof=1)), skew(values))


def given(values: Floats, mask: npt.NDArray[np.bool_]) -> Floats:
    """The outcomes under the mask that are there."""
    own: Floats = values[mask]
    there: Floats = own[np.isfinite(own)]
    return there


def skew(values: Floats) -> float:
    """Third standardised moment; 0 when the values do not vary."""
    if len(values) < 2 or not np.ptp(values):
        return 0.0
    centred = values - values.mean()
    return float((centred * centred * centred).mean() / (centred * centred).mean() ** 1.5)


def effect(control: Floats, arm: Floats, rule: ExperimentRule) -> Effect:
    """The arm less control by the rule's test; arrays hold no NaN."""
    if len(control) < 2 or len(arm) < 2:
        return NO_EFFECT
    alpha = rule.interval_alpha
    if rule.test is Test.MANN_WHITNEY:
        return mann_whitney(control, arm, alpha=alpha)
    first, second = moments(control), moments(arm)
    if rule.test is Test.ALWAYS_VALID:
        return always_valid(first, second, alpha=alpha, planned_units=rule.planned_units)
    if rule.test is Test.WELCH:
        return welch(first, second, alpha=alpha)
    return proportions(first, second, alpha=alpha)


def mann_whitney(control: Floats, arm: Floats, *, alpha: float) -> Effect:
    """P(arm above control) + P(equal)/2 - 1/2; p-value of scipy, interval of DeLong et al. (1988) on the ranks."""
    tested = stats.mannwhitneyu(arm, control, alternative="two-sided")
    difference = float(tested.statistic) / (len(arm) * len(control)) - 0.5
    together = stats.rankdata(np.concatenate([arm, control]))
    above = (together[: len(arm)] - stats.rankdata(arm)) / len(control)
    below = (together[len(arm) :] - stats.rankdata(control)) / len(arm)
    error = math.sqrt(float(above.var(ddof=1)) / len(arm) + float(below.var(ddof=1)) / len(control))
    return rank_effect(difference, error, float(tested.pvalue), alpha=alpha)


def without_covariate(values: Floats, covariate: Floats, arm: Codes, arms: int) -> tuple[Floats, float]:
    """Outcomes less what the covariate explains (CUPED, Deng et al. 2013), and the slope.

    The slope is that within arms, so that no difference of arms is explained away. A unit without covariate counts as
    one of the mean covariate. NaN outcomes stay NaN.
    """
    known = np.isfinite(covariate)
    mean = float(covariate[known].mean()) if known.any() else 0.0
    centred = np.where(known, covariate, mean) - mean
    there = np.isfinite(values)
    products = squares = 0.0
    for place in range(arms):
        own = there & (arm == place)
        if not own.any():
            continue
        x = centred[own] - centred[own].mean()
        products += float(x @ (values[own] - values[own].mean()))
        squares += float(x @ x)
    slope = products / squares if squares > 0 else 0.0
    return values - slope * centred, slope

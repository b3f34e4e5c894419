"""How far the shares of several groups lie apart, and how sure that is when the rows of one day belong together.

The largest difference of all pairs is what people ask for. Resampled by itself it lies too high, because the largest of
noisy differences is above the largest difference. So its two bounds are made of the pairs' own:

- upper: the largest of the pairs' upper bounds, each at the full confidence. To say that no pair differs by more, every
  pair has to show it, so nothing has to be corrected (intersection-union test; Berger 1982).
- lower: the largest of lower bounds that hold for all pairs at once (Bonferroni). To say that some pair differs by
  more, any may do.

Both are Student's with one degree of freedom fewer than there are days: resamples of few days vary too little. A ratio
is bounded by the differences that it makes nothing of (Fieller 1954), so a share near 0 does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from capstan.tasks.metric import Booleans, DayWeights, Floats, Place, divided


@dataclass(frozen=True)
class Shares:
    """One kind of share of every group."""

    found: Floats
    """(groups,)."""
    resampled: Floats
    """(samples, groups), all finite."""
    days: int
    """The fewest that a group has rows of."""


def shares_of(
    counted: Booleans, of: Booleans, group: npt.NDArray[np.int64], place: Place, weights: DayWeights
) -> Shares:
    """In each group the share of rows `of` that are `counted`; samples in which a group has none are left out."""
    size, days = int(group.max()) + 1, weights.shape[1]

    def by_day(rows: Booleans) -> Floats:
        cells = np.bincount((place * size + group)[rows], minlength=days * size)
        return cells.reshape(days, size).astype(np.float64)

    above, below = by_day(counted & of), by_day(of)
    drawn_above, drawn_below = weights @ above, weights @ below
    drawn = divided(drawn_above.reshape(-1), drawn_below.reshape(-1)).reshape(drawn_below.shape)
    return Shares(
        divided(above.sum(axis=0), below.sum(axis=0)),
        drawn[np.isfinite(drawn).all(axis=1)],
        int((below > 0).sum(axis=0).min()),
    )


def largest_difference(shares: Sequence[Shares], confidence: float) -> tuple[float, float]:
    """One-sided lower and upper bounds of the largest difference of two groups, over all kinds of shares."""
    low = high = -math.inf
    for one in shares:
        apart, errors = _differences(one)
        low = max(low, float((apart - _of_all(shares, one, confidence) * errors).max()))
        high = max(high, float((apart + _student(confidence, one.days) * errors).max()))
    return max(low, 0.0), min(high, 1.0)


def smallest_ratio(shares: Sequence[Shares], confidence: float) -> tuple[float, float]:
    """One-sided lower and upper bounds of the smallest ratio of two groups, over all kinds of shares."""
    low = high = math.inf
    for one in shares:
        below, _ = _fieller(one, _student(confidence, one.days))
        _, above = _fieller(one, _of_all(shares, one, confidence))
        low, high = min(low, below), min(high, above)
    return max(low, 0.0), min(high, 1.0)


def _covariance(one: Shares) -> Floats:
    """(groups, groups): rows of one day may be of several groups."""
    size = len(one.found)
    found: Floats = np.cov(one.resampled, rowvar=False, bias=True).reshape(size, size)
    return found


def _differences(one: Shares) -> tuple[Floats, Floats]:
    """(groups, groups) each: how the group of the row lies above that of the column, and the standard error of it."""
    covariance = _covariance(one)
    own = np.diag(covariance)
    variance = own[:, np.newaxis] + own[np.newaxis, :] - 2 * covariance
    return one.found[:, np.newaxis] - one.found[np.newaxis, :], np.sqrt(np.maximum(variance, 0.0))


def _of_all(shares: Sequence[Shares], one: Shares, confidence: float) -> float:
    """The critical value of a pair that holds for all pairs of all kinds at once."""
    pairs = sum(len(each.found) * (len(each.found) - 1) for each in shares)
    return _student(1 - (1 - confidence) / pairs, one.days)


def _student(probability: float, days: int) -> float:
    """Student's quantile, widened as a standard error of resampled days has to be (Hesterberg 2015)."""
    return float(stdtrit(days - 1, probability)) * math.sqrt(days / (days - 1))


def _fieller(one: Shares, critical: float) -> tuple[float, float]:
    """The smallest over all pairs of the lower, and of the upper, bounds of a ratio."""
    size, covariance = len(one.found), _covariance(one)
    low = high = math.inf
    for mine in range(size):
        for other in range(size):
            if mine == other:
                continue
            above, below = one.found[mine], one.found[other]
            square = below**2 - critical**2 * covariance[other, other]
            mixed = above * below - critical**2 * covariance[mine, other]
            rest = above**2 - critical**2 * covariance[mine, mine]
            root = math.sqrt(max(mixed**2 - square * rest, 0.0))
            # A share that may be nothing bounds no ratio to it from above, nor its own from below.
            low = min(low, rest / (mixed + root) if rest > 0 else 0.0)
            if square > 0:
                high = min(high, (mixed + root) / square)
    return float(low), float(high)

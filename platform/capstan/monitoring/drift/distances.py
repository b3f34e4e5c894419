"""How far two samples of one feature are apart: bounded effect sizes between 0 and 1, of one meaning.

Those of the default detectors are here, and what they share with others. For numbers it is the Kolmogorov-Smirnov
distance: the largest difference in probability of any event "x <= t". For categories it is total variation: the largest
difference in probability of any set of categories, from the same contingency table as the chi-squared test. The
chi-squared statistic itself (which alibi-detect calls the distance) grows with the number of rows, and Cramer's V
depends on how many rows the window has beside the reference; neither can be compared between windows of different
size, total variation can. p-values are reported, never decided on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

KOLMOGOROV_MEAN = math.sqrt(math.pi / 2) * math.log(2)
"""Mean of the Kolmogorov distribution: sqrt(n) KS without drift is this much on average."""


class Distance(NamedTuple):
    """What one comparison gave."""

    effect: float
    """Between 0 and 1; the only thing that is decided on."""
    p_value: float
    statistic: float
    """What the test itself measures: KS, or chi-squared."""


def ks(reference: NDArray[np.float64], window: NDArray[np.float64]) -> Distance:
    """Kolmogorov-Smirnov distance of two samples without missing values, with the asymptotic p-value.

    Bit for bit what `scipy.stats.ks_2samp(..., method="asymp")` tells, which sorts the reference and looks at each of
    its values: of one that is in order already, as `in_order` leaves it, a look at the window's values is enough.
    """
    # Seconds of import that the pipeline, which only writes references, need not pay.
    from scipy.stats import kstwo

    before, after = in_order(reference), np.sort(window)
    apart = 0.0
    for side in ("left", "right"):
        # Between two values of the window only the reference's share grows: it is farthest off at the ends.
        gaps = before.searchsorted(after, side) / len(before) - after.searchsorted(after, side) / len(after)
        apart = max(apart, float(np.abs(gaps).max()))
    larger, smaller = sorted((float(len(before)), float(len(after))), reverse=True)
    p_value = kstwo.sf(apart, np.round(larger * smaller / (larger + smaller)))
    return Distance(apart, float(np.clip(p_value, 0, 1)), apart)


def in_order(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same values from the smallest to the largest."""
    is_ordered = bool((sample[1:] >= sample[:-1]).all())
    return sample if is_ordered else np.sort(sample)


def of_counts(reference: NDArray[np.int64], window: NDArray[np.int64]) -> Distance:
    """Total variation of two samples, with the chi-squared test on the same rows of each category."""
    from scipy.stats import chi2_contingency

    table = contingency(reference, window)
    if table.shape[1] < 2:
        return Distance(0.0, 1.0, 0.0)
    statistic, p_value, _, _ = chi2_contingency(table)
    return Distance(total_variation(reference, window), float(p_value), float(statistic))


def contingency(reference: NDArray[np.int64], window: NDArray[np.int64]) -> NDArray[np.int64]:
    """Both as rows of one table, without the categories that neither has."""
    present = (reference + window) > 0
    return np.vstack([reference[present], window[present]])


def total_variation(reference: NDArray[np.int64], window: NDArray[np.int64]) -> float:
    """Half the sum of absolute differences of the shares; 0 if a sample is empty."""
    if not reference.sum() or not window.sum():
        return 0.0
    return float(np.abs(reference / reference.sum() - window / window.sum()).sum() / 2)


def ks_noise(window: int, reference: int) -> float:
    """Mean KS distance of two samples of these sizes from one distribution."""
    return KOLMOGOROV_MEAN * math.sqrt(1 / window + 1 / reference) if window and reference else 0.0


def category_noise(spread: float, window: int, reference: int) -> float:
    """Mean total variation of two samples of these sizes from one distribution.

    `spread` is the sum of sqrt(p (1 - p)) over categories; the normal approximation of each count.
    """
    if not window or not reference:
        return 0.0
    return min(1.0, spread * math.sqrt((1 / window + 1 / reference) / (2 * math.pi)))


def spread_of(counts: NDArray[np.int64]) -> float:
    """Sum of sqrt(p (1 - p)) over categories."""
    shares = counts / counts.sum() if counts.sum() else counts.astype(float)
    return float(np.sqrt(shares * (1 - shares)).sum())

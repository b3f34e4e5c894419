"""Thresholds of drift: what distance a window may have, given how far stretches of the reference differ.

p-values are useless here, because rows of one week are alike: every week "drifts" from the weeks before it. So the
threshold is a quantile of the distances of contiguous reference blocks, of the window's own length, from the rest of
the reference; where there are too few blocks for that quantile, 1.25 times their maximum, and more where many columns
are looked at beside each other (a convention of ours; `tests/benchmarks/drift/injected.py` measures what it holds).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from capstan.spec.monitoring import Monitoring

MONTH = timedelta(days=365.25 / 12)
FACTOR = 1.25
FACTOR_COLUMNS = 20
"""Up to so many columns are held by `FACTOR`."""
FACTOR_RISE = 0.2
"""What is added to it for each e-fold of columns beyond: the largest of many maxima grows with their logarithm."""
BLOCKS_PER_P = 3
QUALITY_SHARE = 0.5
"""Of the budget of false alarms; the rest is for inputs and predictions."""


@dataclass(frozen=True)
class Threshold:
    """A threshold and how it came about."""

    value: float
    rule: str
    """`Quantile`, `Maximum` or `MinEffect` (no block at all)."""
    probability: float
    """Probability of a false breach per window and feature that the budget allows."""
    blocks: int


class Share(NamedTuple):
    """What one of several columns has of the budget."""

    probability: float
    """Of a false breach per window."""
    columns: int
    """That share the budget."""


def false_breach_probability(
    false_alarms_per_month: float,
    window: timedelta,
    features: int,
    consecutive: int,
    *,
    step: timedelta | None = None,
) -> float:
    """Probability of a false breach of one feature in one window that the budget of alarms allows.

    With A alarms and W windows a month, `consecutive` windows must breach in a row, so each may with (A/W)^(1/c): right
    for independent windows, too generous for dependent ones. Shared by the features (Bonferroni). With `step`, windows
    overlap: each look counts, and of looks in a row only those count that share no rows. None: none overlap.
    """
    step = window if step is None else step
    looks: float = MONTH / step
    apart = 1 + (consecutive - 1) * step // window
    per_window: float = min(1.0, false_alarms_per_month / looks) ** (1 / apart)
    return min(0.5, per_window / max(1, features))


def quality_budget(monitoring: Monitoring) -> float:
    """False alarms a month of one alert by labelled answers; a detector of concept drift takes its half."""
    ways = 1 if monitoring.quality.concept is None else 2
    return QUALITY_SHARE * monitoring.drift.false_alarms_per_month / ways


def inputs_budget(monitoring: Monitoring) -> float:
    """False alarms a month of windows of inputs and predictions; online detectors take their half."""
    ways = 2 if monitoring.drift.online else 1
    return (1 - QUALITY_SHARE) * monitoring.drift.false_alarms_per_month / ways


def threshold(
    distances: Sequence[float], probability: float, *, independent_blocks: int, columns: int = 1
) -> Threshold:
    """The threshold from distances of reference blocks; they may overlap, `independent_blocks` counts disjoint ones.

    `columns` share the budget, of which `probability` is this one's share.
    A detector that takes long is asked about fewer blocks than there are: then these are all that is known.
    """
    ordered = sorted(distances)
    if not ordered:
        return Threshold(0.0, "MinEffect", probability, 0)
    independent_blocks = min(independent_blocks, len(ordered))
    if independent_blocks < BLOCKS_PER_P / probability:
        factor = FACTOR + FACTOR_RISE * math.log(max(1.0, columns / FACTOR_COLUMNS))
        return Threshold(factor * ordered[-1], "Maximum", probability, independent_blocks)
    position = (1 - probability) * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    value = ordered[below] + (position - below) * (ordered[above] - ordered[below])
    return Threshold(value, "Quantile", probability, independent_blocks)


def leave_out(distance: float, share: float) -> float:
    """Distance of a block from the rest, given its distance from the whole of which it is `share`.

    Exact for KS and for total variation: with F = s B + (1 - s) R, B - F = (1 - s) (B - R).
    """
    return min(1.0, distance / (1 - share)) if share < 1 else 0.0


def for_size(calibrated: float, noise: float, calibrated_noise: float) -> float:
    """The threshold for a window with fewer rows than the blocks: small samples are farther apart by chance alone."""
    return min(1.0, calibrated + max(0.0, noise - calibrated_noise))

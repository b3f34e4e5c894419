"""Metrics of a window of labelled predictions, and whether a drop is more than chance.

Rows of one day are alike, so the standard error is that of a jackknife over days, which holds for every metric. A drop
counts when the metric is worse than the reference by more than `maxDrop` and a one-sided bound, from Student's t with
days - 1 degrees of freedom, excludes that it is no worse at all. The reference has an error too: a test window that was
lucky would else alarm for as long as the version lives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from capstan.spec.tasks import MetricFacts
from capstan.tasks import Metric, Predictions
from capstan.tasks.metric import Groups, Truth, numbered

LEAST_DAYS = 3
"""Fewer days say nothing about how days differ."""


@dataclass(frozen=True)
class Quality:
    """A metric of one window."""

    value: float | None
    """None: not defined on these rows, as the AUC of one class."""
    standard_error: float | None
    """None: too few days."""
    days: int


def measure(
    metric: Metric,
    truth: Truth,
    predictions: Predictions,
    days: NDArray[np.int64],
    *,
    groups: Groups | None = None,
) -> Quality:
    """The metric with its standard error; `days` says of which day each row is."""
    predictions = predictions.settled()
    value = metric.value(truth, predictions, groups) if len(truth) else math.nan
    present = np.unique(days)
    if not math.isfinite(value):
        return Quality(None, None, len(present))
    error = None
    if len(present) >= LEAST_DAYS:
        without = np.array([_without(metric, truth, predictions, groups, days != day) for day in present])
        if np.isfinite(without).all():
            count = len(present)
            error = float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))
    return Quality(value, error, len(present))


def _without(
    metric: Metric, truth: Truth, predictions: Predictions, groups: Groups | None, kept: NDArray[np.bool_]
) -> float:
    inner = None if groups is None else numbered(groups[kept])
    return metric.value(truth[kept], predictions.rows(kept), inner)


@dataclass(frozen=True)
class QualityReference:
    """The metric on the version's test window."""

    value: float
    standard_error: float = 0.0
    """0: not known, or too few days."""


@dataclass(frozen=True)
class Drop:
    """How much worse than the reference, and whether that is an alert."""

    drop: float
    bound: float | None
    """The drop is above this with the stated confidence; None: not known, so no alert."""
    is_breach: bool


def judge_drop(
    metric: MetricFacts,
    quality: Quality,
    reference: QualityReference,
    *,
    max_drop: float,
    error_probability: float,
) -> Drop | None:
    """The drop below the reference; None where the metric itself is unknown."""
    if quality.value is None or not math.isfinite(reference.value):
        return None
    drop = metric.sign * (reference.value - quality.value)
    if quality.standard_error is None:
        return Drop(drop, None, False)
    quantile = float(stdtrit(quality.days - 1, 1 - error_probability))
    bound = drop - quantile * math.hypot(quality.standard_error, reference.standard_error)
    return Drop(drop, bound, drop > max_drop and bound > 0)

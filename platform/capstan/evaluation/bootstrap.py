"""How sure a difference of two models on the same rows is, when the rows of one day belong together.

Whole days are drawn with replacement (Künsch 1989; Efron & Tibshirani 1993, ch. 8). A drawn sample is a vector of
weights of days, and each metric knows its value on all samples at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtrit

from capstan.tasks import Metric, Predictions
from capstan.tasks.metric import DayWeights, Floats, Groups, Place, Truth, first_of_each

RESAMPLES = 2000


@dataclass(frozen=True)
class Difference:
    """First minus second model, with what resampling days says about it."""

    first: float
    second: float
    resampled: Floats
    """One difference per resample that defines it."""
    days: int

    @property
    def value(self) -> float:
        return self.first - self.second

    def bound(self, confidence: float) -> float:
        """The one-sided bound of this confidence: an upper one above 0.5, a lower one below."""
        return _bound(self.resampled, confidence, self.days)


@dataclass(frozen=True)
class Measured:
    """A value, with what resampling days says about it."""

    value: float
    resampled: Floats
    """One value per resample that defines it."""
    days: int

    def bound(self, confidence: float) -> float:
        """The one-sided bound of this confidence: an upper one above 0.5, a lower one below."""
        return _bound(self.resampled, confidence, self.days)


def _bound(resampled: Floats, confidence: float, days: int) -> float:
    """The expanded percentile (Hesterberg 2015): resamples of few days vary too little.

    Of five days the plain 95 % percentile is wrong in 11 % of cases, of fourteen in 7 %.
    """
    deviations = float(stdtrit(days - 1, confidence)) * math.sqrt(days / (days - 1))
    return float(np.quantile(resampled, ndtr(deviations)))


def day_weights(days: int, *, rng: np.random.Generator, resamples: int = RESAMPLES) -> DayWeights:
    """(resamples, days): how often each day is drawn."""
    return rng.multinomial(days, np.full(days, 1 / days), size=resamples).astype(np.float64)


def place_of(days: npt.NDArray[Any], metric: Metric, groups: Groups | None = None) -> tuple[Place, int]:
    """The day of each row, or of each group of a metric of groups, and how many days there are."""
    labels, place = np.unique(days, return_inverse=True)
    place = place.reshape(-1)
    if metric.facts.unit == "group" and groups is not None:
        place = place[first_of_each(groups)]
    return place, len(labels)


def paired_difference(
    metric: Metric,
    truth: Truth,
    first: Predictions,
    second: Predictions,
    days: npt.NDArray[np.generic],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    groups: Groups | None = None,
) -> Difference | None:
    """The difference of the metric on the same rows, by blocks of `days`; None where the window does not define it.

    Resamples that do not define the metric, as those of one class, are left out.
    """
    values = [metric.value(truth, first, groups), metric.value(truth, second, groups)] if len(truth) else []
    if not values or not np.isfinite(values).all():
        return None
    place, count = place_of(days, metric, groups)
    weights = day_weights(count, rng=rng, resamples=resamples)
    difference = metric.resampled(truth, first, groups, place, weights) - metric.resampled(
        truth, second, groups, place, weights
    )
    return Difference(values[0], values[1], difference[np.isfinite(difference)], count)


def measured(
    metric: Metric,
    truth: Truth,
    predictions: Predictions,
    days: npt.NDArray[np.generic],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    groups: Groups | None = None,
) -> Measured | None:
    """The metric of one model by blocks of `days`; None where the window does not define it.

    Resamples that do not define it are left out.
    """
    value = metric.value(truth, predictions, groups) if len(truth) else np.nan
    if not np.isfinite(value):
        return None
    place, count = place_of(days, metric, groups)
    drawn = metric.resampled(
        truth, predictions, groups, place, day_weights(count, rng=rng, resamples=resamples)
    )
    return Measured(value, drawn[np.isfinite(drawn)], count)

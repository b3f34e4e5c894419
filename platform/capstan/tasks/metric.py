"""A metric as one object: its value on a window, its loss per request, and its value on resampled days.

From `losses` follow bootstrap, monitor and paired verdict alike. Numpy alone: importing scikit-learn costs a pipeline
step more than all of these together, and the model service imports this room.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from capstan.spec.tasks import MetricFacts
from capstan.tasks.predictions import Predictions

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Truth = npt.NDArray[Any]
"""(n,) labels: booleans, floats or texts, as the task's kind of label says."""
Groups = npt.NDArray[np.int64]
"""(n,): the group of each row, numbered from 0 without a gap."""
Weights = npt.NDArray[np.float64]
"""(units,): how much each row, or each group of a metric of groups, counts."""
Place = npt.NDArray[np.int64]
"""(units,): the day of each row or group, numbered from 0 without a gap."""
DayWeights = npt.NDArray[np.float64]
"""(samples, days): how often each day was drawn."""


class Value(Protocol):
    """The metric of a window; nan where the window does not define it."""

    def __call__(
        self,
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,
        weights: Weights | None = None,
    ) -> float: ...


class Losses(Protocol):
    """(n,) losses of rows, or (groups,) of groups; smaller is better, and every one is finite and bounded."""

    def __call__(self, truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats: ...


class Resampled(Protocol):
    """(samples,): the metric when each day counts as often as it was drawn; nan where it is not defined then."""

    def __call__(
        self,
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None,
        place: Place,
        weights: DayWeights,
    ) -> Floats: ...


@dataclass(frozen=True)
class Metric:
    """One metric of one task."""

    facts: MetricFacts
    value: Value
    resampled: Resampled
    losses: Losses | None = None
    """Their mean is the value, or 1 minus it where more is better.

    None: no single row or group has a loss, so that two versions can't be compared request by request.
    """
    clipped: Callable[[Truth, Predictions], Booleans] | None = None
    """Which labelled rows' losses were bounded, so that one row can't decide; None: none ever is."""

    @property
    def name(self) -> str:
        return self.facts.name


def from_losses(
    facts: MetricFacts, losses: Losses, *, clipped: Callable[[Truth, Predictions], Booleans] | None = None
) -> Metric:
    """The metric that is the mean of its losses, or 1 minus it where more is better."""
    at_most = 1.0 if facts.direction == "Higher" else 0.0
    sign = -facts.sign

    def value(
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,
        weights: Weights | None = None,
    ) -> float:
        found = losses(truth, predictions, groups)
        if not len(found):
            return math.nan
        if weights is None:
            return at_most + sign * float(np.mean(found))
        total = weights.sum()
        return at_most + sign * float(weights @ found / total) if total else math.nan

    def resampled(
        truth: Truth, predictions: Predictions, groups: Groups | None, place: Place, weights: DayWeights
    ) -> Floats:
        days = weights.shape[1]
        sums = np.bincount(place, weights=losses(truth, predictions, groups), minlength=days)
        found: Floats = at_most + sign * (weights @ sums) / (weights @ np.bincount(place, minlength=days))
        return found

    return Metric(facts, value, resampled, losses, clipped)


def from_sums(
    facts: MetricFacts,
    parts: Callable[[Truth, Predictions], Floats],
    finish: Callable[[Floats, Floats], Floats],
) -> Metric:
    """The metric that is a function of sums over rows.

    `parts` gives (n, k) numbers of the rows; `finish` takes (samples, k) sums and (samples,) numbers of rows, and gives
    (samples,) values. So counts of a confusion matrix, sums of squares and sums over bins are all a metric needs.
    """

    def value(
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,  # noqa: ARG001
        weights: Weights | None = None,
    ) -> float:
        if not len(truth):
            return math.nan
        counted = np.ones(len(truth)) if weights is None else weights
        sums = counted @ parts(truth, predictions)
        return float(finish(sums[np.newaxis], counted.sum(keepdims=True))[0])

    def resampled(
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None,  # noqa: ARG001
        place: Place,
        weights: DayWeights,
    ) -> Floats:
        found = parts(truth, predictions)
        days = weights.shape[1]
        by_day = np.stack(
            [np.bincount(place, weights=found[:, part], minlength=days) for part in range(found.shape[1])],
            axis=1,
        )
        return finish(weights @ by_day, weights @ np.bincount(place, minlength=days))

    return Metric(facts, value, resampled)


def numbered(names: npt.NDArray[Any]) -> Groups:
    """The group of each row out of the name, or the number, of its group."""
    groups: Groups = np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return groups


def first_of_each(groups: Groups) -> npt.NDArray[np.int64]:
    """(groups,): the first row of each group, by which a group belongs to a day."""
    return np.unique(groups, return_index=True)[1]

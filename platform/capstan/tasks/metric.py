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


class Judges(Protocol):
    """(n,) rows or (groups,) groups about which the metric says anything, whatever was predicted."""

    def __call__(self, truth: Truth, groups: Groups | None = None) -> Booleans: ...


@dataclass(frozen=True)
class MeanLoss:
    """A metric as a function of the mean of losses of single rows, for who can only guess these."""

    losses: Losses
    """Of rows."""
    finish: Callable[[float], float]
    """Mean loss -> the metric."""


@dataclass(frozen=True)
class Metric:
    """One metric of one task."""

    facts: MetricFacts
    value: Value
    resampled: Resampled
    losses: Losses | None = None
    """Their mean is the value, or `best` minus it where more is better.

    None: no single row or group has a loss, so that two versions can't be compared request by request.
    """
    clipped: Callable[[Truth, Predictions], Booleans] | None = None
    """Which labelled rows' losses were bounded, so that one row can't decide; None: none ever is."""
    judges: Judges | None = None
    """Losses of all others are 0 and count nowhere; None: it judges all."""
    wants: str = ""
    """What those lack that it does not judge."""
    best: float = 1.0
    """Of a metric with losses of which more is better: its value where every loss is 0."""
    mean_loss: MeanLoss | None = None
    """None: it is no function of a mean over rows."""

    @property
    def name(self) -> str:
        return self.facts.name

    def counted(self, truth: Truth, groups: Groups | None = None) -> str:
        """What it is measured on, in words: rows, and the groups that it judges."""
        rows = f"{len(truth):,} rows"
        if self.facts.unit != "group" or groups is None:
            return rows
        found = f"{rows} in {int(groups.max()) + 1 if len(groups) else 0:,} groups"
        left_out = 0 if self.judges is None else int((~self.judges(truth, groups)).sum())
        return (
            f"{found} ({left_out:,} of them without {self.wants}, which are left out)" if left_out else found
        )


def from_losses(
    facts: MetricFacts,
    losses: Losses,
    *,
    clipped: Callable[[Truth, Predictions], Booleans] | None = None,
    judges: Judges | None = None,
    wants: str = "",
    best: float = 1.0,
) -> Metric:
    """The metric that is the mean of its losses, or `best` minus it where more is better."""
    at_most = best if facts.direction == "Higher" else 0.0
    sign = -facts.sign

    def value(
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,
        weights: Weights | None = None,
    ) -> float:
        found = losses(truth, predictions, groups)
        if judges is not None:
            kept = judges(truth, groups)
            found, weights = found[kept], None if weights is None else weights[kept]
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
        found = losses(truth, predictions, groups)
        kept = None if judges is None else judges(truth, groups).astype(np.float64)
        sums = np.bincount(place, weights=found if kept is None else found * kept, minlength=days)
        counts = weights @ np.bincount(place, weights=kept, minlength=days)
        drawn: Floats = at_most + sign * divided(weights @ sums, counts)
        return drawn

    def of_mean(loss: float) -> float:
        return at_most + sign * loss

    mean_loss = MeanLoss(losses, of_mean) if facts.unit == "row" else None
    return Metric(facts, value, resampled, losses, clipped, judges, wants, best, mean_loss)


def of_rows(
    facts: MetricFacts,
    value: Callable[[Truth, Predictions, Weights | None], float],
    resampled: Callable[[Truth, Predictions, Place, DayWeights], Floats],
) -> Metric:
    """The metric of rows that belong to no group; no row has a loss of its own."""

    def of_window(
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,  # noqa: ARG001
        weights: Weights | None = None,
    ) -> float:
        return value(truth, predictions, weights)

    def of_days(
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None,  # noqa: ARG001
        place: Place,
        weights: DayWeights,
    ) -> Floats:
        return resampled(truth, predictions, place, weights)

    return Metric(facts, of_window, of_days)


def from_sums(
    facts: MetricFacts,
    parts: Callable[[Truth, Predictions], Floats],
    finish: Callable[[Floats, Floats], Floats],
) -> Metric:
    """The metric that is a function of sums over rows.

    `parts` gives (n, k) numbers of the rows; `finish` takes (samples, k) sums and (samples,) numbers of rows, and gives
    (samples,) values. So counts of a confusion matrix, sums of squares and sums over bins are all a metric needs.
    """

    def value(truth: Truth, predictions: Predictions, weights: Weights | None) -> float:
        if not len(truth):
            return math.nan
        counted = np.ones(len(truth)) if weights is None else weights
        sums = counted @ parts(truth, predictions)
        return float(finish(sums[np.newaxis], counted.sum(keepdims=True))[0])

    def resampled(truth: Truth, predictions: Predictions, place: Place, weights: DayWeights) -> Floats:
        found = parts(truth, predictions)
        days = weights.shape[1]
        by_day = np.stack(
            [np.bincount(place, weights=found[:, part], minlength=days) for part in range(found.shape[1])],
            axis=1,
        )
        return finish(weights @ by_day, weights @ np.bincount(place, minlength=days))

    return of_rows(facts, value, resampled)


def share(above: Floats, below: Floats) -> Floats:
    """0 where there is nothing to share, as scikit-learn says."""
    result: Floats = np.divide(above, below, out=np.zeros_like(below, dtype=np.float64), where=below > 0)
    return result


def divided(above: Floats, below: Floats) -> Floats:
    """nan where there is nothing to divide by."""
    result: Floats = np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)
    return result


def numbered(names: npt.NDArray[Any]) -> Groups:
    """The group of each row out of the name, or the number, of its group."""
    groups: Groups = np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return groups


def first_of_each(groups: Groups) -> npt.NDArray[np.int64]:
    """(groups,): the first row of each group, by which a group belongs to a day."""
    return np.unique(groups, return_index=True)[1]

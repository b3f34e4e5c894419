"""A metric of a person's own: whatever function their factory makes; its faults are told by the factory's name."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.own_code import made_by
from capstan.spec.tasks import LabelKind, MetricFacts
from capstan.tasks import anomalies, cluster_metrics
from capstan.tasks.metric import (
    DayWeights,
    Floats,
    Groups,
    Judges,
    Metric,
    Place,
    Truth,
    Weights,
    first_of_each,
    numbered,
)
from capstan.tasks.predictions import Predictions
from capstan.tasks.task import Task

if TYPE_CHECKING:
    from capstan.spec.evaluation import CustomMetric

_KNOWN_LABELS: Mapping[LabelKind, Judges] = {
    "Anomaly": anomalies.is_known,
    "Cluster": cluster_metrics.is_known,
}
"""Which rows have a label, where some may have none."""
_OPTIONAL = ("weights", "groups")
"""Arguments that the function gets if it takes arguments of these names."""
_CALLED_WITH = (
    "it is called with the labels and a map of the predictions, and with `weights` and `groups` if it takes arguments "
    "of these names"
)


def with_own_metrics(task: Task, metrics: Sequence[CustomMetric]) -> Task:
    """The task with a person's own metrics behind its own; itself without any.

    The factories' modules must be importable now, and while they measure. Raises InvalidDataError that names the
    factory.
    """
    if not metrics:
        return task
    judging = copy.copy(task)
    judging.facts = task.facts.with_metrics(one.facts for one in metrics)
    judges = _KNOWN_LABELS.get(task.facts.label)
    own = {
        one.name: own_metric(one.facts, one.custom.factory, one.custom.parameters, judges) for one in metrics
    }
    judging.metrics = {**task.metrics, **own}
    return judging


def own_metric(
    facts: MetricFacts, factory: str, parameters: Mapping[str, Any], judges: Judges | None = None
) -> Metric:
    """The metric that `module:name` makes; raises InvalidDataError that names the factory.

    `judges`: which rows have a label; the function gets no others. None: all have one.
    """
    measure = _Measure(factory, parameters, judges)
    return Metric(facts, measure, measure.resampled, judges=judges, wants="" if judges is None else "a label")


class _Measure:
    """Calls the person's function; whatever it does wrong is an InvalidDataError that names its factory."""

    def __init__(self, factory: str, parameters: Mapping[str, Any], judges: Judges | None) -> None:
        self._factory, self._judges = factory, judges
        self._function: Callable[..., Any] = made_by(factory, parameters)
        if not callable(self._function):
            raise InvalidDataError(
                f"{factory} gave {type(self._function).__name__}, which can't be called; return a function of labels "
                "and predictions that gives one number"
            )
        self._takes = self._accepted()

    def __call__(
        self,
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,
        weights: Weights | None = None,
    ) -> float:
        """Weights say how often each row counts; a function that takes none gets such rows repeated."""
        if weights is None:
            return self._measured(truth, predictions, groups, np.ones(len(truth)))
        if "weights" in self._takes:
            rows = np.flatnonzero(weights)
            inside = None if groups is None else numbered(groups[rows])
            return self._measured(truth[rows], predictions.rows(rows), inside, weights[rows])
        return self._of_repeated(truth, predictions, groups, weights)

    def resampled(
        self, truth: Truth, predictions: Predictions, groups: Groups | None, place: Place, weights: DayWeights
    ) -> Floats:
        """(samples,); one call of the function for each sample.

        Raises InvalidDataError if its weights do not count rows: every interval would be too narrow.
        """
        if groups is not None:
            # A group belongs to one day, that of its first row.
            place = place[first_of_each(groups)][groups]
        if "weights" in self._takes:
            most_uneven = weights[weights.max(axis=1).argmax()][place]
            by_weight = self(truth, predictions, groups, most_uneven)
            by_rows = self._of_repeated(truth, predictions, groups, most_uneven)
            if not np.isclose(by_weight, by_rows, rtol=1e-6, atol=1e-9, equal_nan=True):
                raise InvalidDataError(
                    f"{self._factory}: with weights the metric is {by_weight:g}, with as many copies of the rows "
                    f"{by_rows:g}; let a row of weight 2 count as two rows, or take no weights: then it gets copies"
                )
        return np.array([self(truth, predictions, groups, drawn[place]) for drawn in weights])

    def _of_repeated(
        self, truth: Truth, predictions: Predictions, groups: Groups | None, weights: Weights
    ) -> float:
        counts = np.rint(weights).astype(np.int64)
        if not np.array_equal(counts, weights):
            raise InvalidDataError(
                f"{self._factory} takes no weights, so a row can only count a whole number of times; let it take them"
            )
        rows = np.repeat(np.arange(len(truth)), counts)
        inside = None if groups is None else _groups_of_copies(groups, rows, counts)
        return self._measured(truth[rows], predictions.rows(rows), inside, np.ones(len(rows)))

    def _measured(
        self, truth: Truth, predictions: Predictions, groups: Groups | None, weights: Weights
    ) -> float:
        if self._judges is not None:
            kept = self._judges(truth)
            truth, predictions, weights = truth[kept] == 1, predictions.rows(kept), weights[kept]
        if not len(truth):
            return math.nan
        given: dict[str, Any] = {"weights": weights, "groups": None if groups is None else groups.copy()}
        columns = {name: column.copy() for name, column in predictions.columns.items()}
        try:
            found = self._function(truth.copy(), columns, **{name: given[name] for name in self._takes})
        except Exception as error:
            raise InvalidDataError(
                f"{self._factory}, asked about {len(truth):,} rows: {type(error).__name__}: {error}; where rows do not "
                "define the metric, let it return nan"
            ) from error
        if isinstance(found, bool | np.bool_) or not isinstance(found, Real) or math.isinf(found):
            raise InvalidDataError(
                f"{self._factory}, asked about {len(truth):,} rows, gave {found!r:.60} ({type(found).__name__}); let "
                "it return one finite number, or nan where rows do not define the metric"
            )
        return float(found)

    def _accepted(self) -> tuple[str, ...]:
        """Which of the optional arguments the function takes."""
        try:
            signature = inspect.signature(self._function)
        except (TypeError, ValueError):
            # Some functions of C do not tell.
            return ()
        takes = tuple(name for name in _OPTIONAL if name in signature.parameters)
        try:
            signature.bind(None, None, **dict.fromkeys(takes))
        except TypeError as error:
            raise InvalidDataError(
                f"{self._factory} gave a function with {signature}: {error}; {_CALLED_WITH}"
            ) from error
        return takes


def _groups_of_copies(groups: Groups, rows: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Groups:
    """Groups of repeated rows: the second copies of a group's rows are a group of their own."""
    if not len(rows):
        return groups[:0]
    starts = np.cumsum(counts) - counts
    copies = np.arange(len(rows)) - starts[rows]
    return numbered(groups[rows] * (int(copies.max()) + 1) + copies)

"""How much of something: one number for each row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from capstan.errors import InvalidDataError
from capstan.spec.tasks import REGRESSION, MetricFacts
from capstan.tasks.disclosure import of_numbers
from capstan.tasks.labels import LABELS
from capstan.tasks.metric import (
    Booleans,
    Floats,
    Groups,
    MeanLoss,
    Metric,
    Truth,
    divided,
    from_losses,
    from_sums,
)
from capstan.tasks.predictions import Learnt, Predictions
from capstan.tasks.scores import judged_numbers
from capstan.tasks.task import Answer, Outputs, RowOutputs
from capstan.tasks.tensors import Tensor, as_number, number_tensor

if TYPE_CHECKING:
    from capstan.spec.objective import Objective
    from capstan.spec.value import AnswerValue

VALUE = "value"
HUBER_SHARE = 0.1
"""Of the largest error that counts: from there on Huber's loss grows straight where the file names no delta."""
LARGEST_FINITE = 1e150
"""Errors are cut here before they are squared, so that every square is a float."""
SAME = 1e-6
"""Values that differ by a smaller share are the same: two versions may have come to one value by different paths."""


@dataclass(frozen=True)
class ErrorScale:
    """Which errors count, in units of the label; the file's `objective.losses`."""

    maximum: float
    """A larger error has the loss of this one, so that no single row decides."""
    huber_delta: float
    """From here on Huber's loss grows straight; two versions whose values differ by more disagree."""
    quantile: float = 0.5

    @classmethod
    def of(cls, objective: Objective) -> ErrorScale | None:
        """What the objective states; None: nothing, which only an objective of another task may do."""
        stated = objective.losses
        if stated is None:
            return None
        delta = stated.huber_delta
        delta = HUBER_SHARE * stated.maximum_error if delta is None else delta
        return cls(stated.maximum_error, delta, stated.quantile)


UNSTATED = ErrorScale(LARGEST_FINITE, 0.0)
"""Without an objective: every error counts as it is, and every difference is a disagreement."""


def _errors(truth: Truth, predictions: Predictions, most: float = LARGEST_FINITE) -> Floats:
    """Prediction minus truth, between -most and most."""
    return np.asarray(np.clip(predictions[VALUE] - truth, -most, most), dtype=np.float64)


def _squared(errors: Floats, scale: ErrorScale) -> Floats:  # noqa: ARG001
    return errors**2


def _absolute(errors: Floats, scale: ErrorScale) -> Floats:  # noqa: ARG001
    return np.abs(errors)


def _huber(errors: Floats, scale: ErrorScale) -> Floats:
    """Half the square up to delta, a straight line beyond it (Huber 1964)."""
    size, delta = np.abs(errors), scale.huber_delta or LARGEST_FINITE
    within = np.minimum(size, delta)
    found: Floats = within**2 / 2 + delta * (size - within)
    return found


def _pinball(errors: Floats, scale: ErrorScale) -> Floats:
    """The quantile's share of an answer that is too low, the rest of one that is too high (Koenker & Bassett 1978)."""
    found: Floats = np.where(errors < 0, -scale.quantile * errors, (1 - scale.quantile) * errors)
    return found


LOSSES = {"squaredError": _squared, "absoluteError": _absolute, "huber": _huber, "quantileLoss": _pinball}


def _sums(truth: Truth, predictions: Predictions) -> Floats:
    """(n, 6): squared and absolute error; truth and its square, about the mean; relative error, where there is one."""
    errors = _errors(truth, predictions)
    # About any fixed number the spread is the same; about the mean no digits are lost.
    about = np.clip(truth - (truth.mean() if len(truth) else 0.0), -LARGEST_FINITE, LARGEST_FINITE)
    has_share = truth != 0
    with np.errstate(over="ignore"):
        share = np.divide(np.abs(errors), np.abs(truth), out=np.zeros(len(truth)), where=has_share)
    share = np.minimum(share, LARGEST_FINITE)
    parts = (errors**2, np.abs(errors), about, about**2, share, has_share)
    found: Floats = np.stack(parts, axis=1).astype(np.float64)
    return found


def _rmse(sums: Floats, rows: Floats) -> Floats:
    found: Floats = np.sqrt(divided(sums[:, 0], rows))
    return found


def _mae(sums: Floats, rows: Floats) -> Floats:
    return divided(sums[:, 1], rows)


def _r2(sums: Floats, rows: Floats) -> Floats:
    """Share of the variance that is explained; nan where all labels are the same."""
    spread = sums[:, 3] - sums[:, 2] ** 2 / rows
    # What is left of equal labels is rounding.
    return 1 - divided(sums[:, 0], np.where(spread > 1e-12 * sums[:, 3], spread, 0.0))


def _mape(sums: Floats, rows: Floats) -> Floats:  # noqa: ARG001
    """Mean error as a share of the truth, over the rows whose truth is not 0; nan without one."""
    return divided(sums[:, 4], sums[:, 5])


def _loss_metric(
    facts: MetricFacts, shape: Callable[[Floats, ErrorScale], Floats], scale: ErrorScale, best: float = 1.0
) -> Metric:
    def losses(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:  # noqa: ARG001
        return shape(_errors(truth, predictions, scale.maximum), scale)

    def clipped(truth: Truth, predictions: Predictions) -> Booleans:
        beyond: Booleans = np.abs(predictions[VALUE] - truth) > scale.maximum
        return beyond

    return from_losses(facts, losses, clipped=clipped, best=best)


def _value_metric(worth: AnswerValue, scale: ErrorScale) -> Metric:
    """What errors cost; the best answer costs nothing."""
    over, under = worth.over or 0.0, worth.under or 0.0

    def costs(errors: Floats, scale: ErrorScale) -> Floats:  # noqa: ARG001
        found: Floats = np.where(errors > 0, -over * errors, under * errors)
        return found

    return _loss_metric(worth.facts, costs, scale, best=0.0)


def _squares(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:  # noqa: ARG001
    return _squared(_errors(truth, predictions), UNSTATED)


def _sizes(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:  # noqa: ARG001
    return _absolute(_errors(truth, predictions), UNSTATED)


def _root(mean: float) -> float:
    return math.sqrt(max(0.0, mean))


def _metrics(scale: ErrorScale, worth: AnswerValue | None) -> Mapping[str, Metric]:
    sums = {"rmse": _rmse, "mae": _mae, "r2": _r2, "mape": _mape}
    means = {"rmse": MeanLoss(_squares, _root), "mae": MeanLoss(_sizes, float)}
    made = {
        facts.name: replace(from_sums(facts, _sums, sums[facts.name]), mean_loss=means.get(facts.name))
        if facts.name in sums
        else _loss_metric(facts, LOSSES[facts.name], scale)
        for facts in REGRESSION.metrics
    }
    return made if worth is None else {**made, worth.facts.name: _value_metric(worth, scale)}


class Regression:
    """A label that is a number, and the number that is expected."""

    facts = REGRESSION
    label = LABELS["Number"]
    sound = "a finite number"
    method = "predict"
    disclosure = "R2"

    def __init__(self, scale: ErrorScale = UNSTATED, worth: AnswerValue | None = None) -> None:
        """`worth`: what errors cost; None: nothing is stated."""
        self._scale = scale
        if worth is not None:
            self.facts = self.facts.with_metrics((worth.facts,))
        self.metrics = _metrics(scale, worth)

    def with_objective(self, objective: Objective) -> Self:
        scale = ErrorScale.of(objective)
        return self if scale is None else type(self)(scale, objective.value)

    def disclosed(self, truth: Truth, groups: Groups, values: Floats | None) -> float:
        return of_numbers(truth, groups, values)

    def learnt(self, model: Any) -> Learnt:
        if getattr(model, "classes_", None) is not None:
            raise InvalidDataError(
                f"the fitted {type(model).__name__} has classes_, so it is a classifier; a {self.facts.name} needs a "
                "model whose predict gives numbers"
            )
        return Learnt()

    def scores(self, model: Any, matrix: Any, *, rows: int | None = None) -> Floats:
        found = model.predict(matrix)
        if rows is not None:
            return judged_numbers(found, rows)
        return np.asarray(found, dtype=np.float64)

    def predictions(
        self,
        scores: Floats,
        learnt: Learnt,  # noqa: ARG002
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Predictions:
        return Predictions({VALUE: scores})

    def outputs(self, predictions: Predictions) -> list[Outputs]:
        return [{VALUE: score} for score in predictions[VALUE].tolist()]

    def row_outputs(self, learnt: Learnt) -> RowOutputs:  # noqa: ARG002
        is_finite = math.isfinite
        return lambda score: {VALUE: float(score)} if is_finite(score) else None

    def answers(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Answer]:  # noqa: ARG002
        return [{VALUE: one[VALUE]} for one in outputs]

    def tensors(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Tensor]:  # noqa: ARG002
        return [Tensor(VALUE, "FP64", (len(outputs),), [one[VALUE] for one in outputs])]

    def described(self, learnt: Learnt) -> list[Tensor]:  # noqa: ARG002
        return [Tensor(VALUE, "FP64", (-1,))]

    def of_tensors(self, tensors: Sequence[Tensor]) -> list[Outputs | None] | None:
        found = number_tensor(tensors, VALUE)
        if found is None:
            return None
        values = [as_number(row[0]) if len(row) == 1 else None for row in found.by_row()]
        return [None if value is None else {VALUE: value} for value in values]

    def unsound(self, predictions: Predictions) -> Booleans:
        lacking: Booleans = ~np.isfinite(predictions[VALUE])
        return lacking

    def disagree(
        self,
        first: Predictions,
        second: Predictions,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Booleans:
        one, other = first[VALUE], second[VALUE]
        same = np.maximum(self._scale.huber_delta, SAME * np.maximum(np.abs(one), np.abs(other)))
        differing: Booleans = np.abs(one - other) > same
        return differing

    def baseline(self, truth: Truth, rows: int) -> Predictions:
        return Predictions({VALUE: np.full(rows, float(np.mean(truth)))})

    def details(
        self,
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        if not len(truth) or self.unsound(predictions).any():
            return {}
        errors = _errors(truth, predictions)
        mean, (low, high) = float(errors.mean()), np.quantile(errors, [0.05, 0.95]).tolist()
        told = (
            f"answers are {abs(mean):.4g} too {'high' if mean > 0 else 'low'} in the mean; of ten, nine miss the label "
            f"by {low:+.4g} to {high:+.4g}"
        )
        return {"mean_error": mean, "errors": {"5%": low, "95%": high}, "notes": [told]}

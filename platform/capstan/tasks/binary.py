"""Whether something is so: the probability of one class of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from capstan.errors import InvalidDataError
from capstan.spec.tasks import BINARY
from capstan.tasks.areas import (
    average_precision,
    average_precision_of_days,
    of_ranking,
    roc_auc,
    roc_auc_of_days,
)
from capstan.tasks.disclosure import of_booleans
from capstan.tasks.labels import Words, label_of
from capstan.tasks.metric import (
    Booleans,
    Floats,
    Groups,
    Metric,
    Truth,
    from_losses,
    from_sums,
    share,
)
from capstan.tasks.predictions import Learnt, Predictions
from capstan.tasks.probabilities import (
    PROBABILITY,
    SAME,
    THRESHOLD,
    answered_true,
    calibration_error,
    calibration_gaps,
    is_bounded,
    judged_probabilities,
    log_losses_of,
)
from capstan.tasks.task import Answer, Outputs, RowOutputs
from capstan.tasks.tensors import Tensor, as_number, label_datatype, label_tensor, number_tensor

if TYPE_CHECKING:
    from capstan.spec.objective import Objective
    from capstan.spec.value import AnswerValue


def log_losses(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:  # noqa: ARG001
    probability = predictions[PROBABILITY]
    return log_losses_of(np.where(truth, probability, 1 - probability))


def brier_losses(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:  # noqa: ARG001
    return np.asarray((predictions[PROBABILITY] - truth) ** 2, dtype=np.float64)


def _is_clipped(truth: Truth, predictions: Predictions) -> Booleans:  # noqa: ARG001 — both ends are bounded alike
    return is_bounded(predictions[PROBABILITY])


def _cells(truth: Truth, predictions: Predictions, threshold: float) -> Floats:
    """(n, 4): true positive, false positive, false negative, true negative at the threshold."""
    predicted = answered_true(predictions, threshold)
    cells = (predicted & truth, predicted & ~truth, ~predicted & truth, ~predicted & ~truth)
    return np.stack(cells, axis=1).astype(np.float64)


def _accuracy(sums: Floats, rows: Floats) -> Floats:
    return share(sums[:, 0] + sums[:, 3], rows)


def _precision(sums: Floats, rows: Floats) -> Floats:  # noqa: ARG001
    return share(sums[:, 0], sums[:, 0] + sums[:, 1])


def _recall(sums: Floats, rows: Floats) -> Floats:  # noqa: ARG001
    return share(sums[:, 0], sums[:, 0] + sums[:, 2])


def _f1(sums: Floats, rows: Floats) -> Floats:  # noqa: ARG001
    return share(2 * sums[:, 0], 2 * sums[:, 0] + sums[:, 1] + sums[:, 2])


def _gaps(truth: Truth, predictions: Predictions) -> Floats:
    return calibration_gaps(predictions[PROBABILITY], truth)


def _value_metric(worth: AnswerValue) -> Metric:
    """What answers are worth; its loss is what is missed of the best that any case can bring."""
    worths = np.array(worth.of_cases)
    best = float(worths.max())

    def losses(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:  # noqa: ARG001
        found: Floats = _cells(truth, predictions, worth.threshold) @ (best - worths)
        return found

    return from_losses(worth.facts, losses, best=best)


def _metrics(worth: AnswerValue | None, threshold: float) -> Mapping[str, Metric]:
    fact = BINARY.metric

    def cells(truth: Truth, predictions: Predictions) -> Floats:
        return _cells(truth, predictions, threshold)

    made = (
        of_ranking(fact("rocAuc"), PROBABILITY, roc_auc, roc_auc_of_days),
        of_ranking(fact("averagePrecision"), PROBABILITY, average_precision, average_precision_of_days),
        from_losses(fact("logLoss"), log_losses, clipped=_is_clipped),
        from_losses(fact("brierScore"), brier_losses),
        from_sums(fact("accuracy"), cells, _accuracy),
        from_sums(fact("f1"), cells, _f1),
        from_sums(fact("precision"), cells, _precision),
        from_sums(fact("recall"), cells, _recall),
        from_sums(fact("calibrationError"), _gaps, calibration_error),
        *(() if worth is None else (_value_metric(worth),)),
    )
    return {metric.name: metric for metric in made}


class BinaryClassification:
    """A label that is true or false, and the probability that it is true."""

    facts = BINARY
    sound = "a number from 0 to 1"
    method = "predict_proba"
    disclosure = "ROC-AUC"

    def __init__(
        self, worth: AnswerValue | None = None, words: Words | None = None, *, threshold: float | None = None
    ) -> None:
        """`worth`: what answers are worth; None: nothing is stated.

        `words`: how tables and answers write the label; None: as true and false.
        `threshold`: from which probability on an answer is true; None: as `worth` says, and without it from a half on.
        """
        self.label = label_of("Boolean", words)
        self._classes: tuple[object, object] = words or (False, True)
        if worth is not None:
            self.facts = self.facts.with_metrics((worth.facts,))
        usual = THRESHOLD if worth is None else worth.threshold
        self.threshold = usual if threshold is None else threshold
        self.metrics = _metrics(worth, self.threshold)

    def with_objective(self, objective: Objective) -> Self:
        stated = (objective.value, objective.words)
        return self if stated == (None, None) else type(self)(*stated)

    def disclosed(self, truth: Truth, groups: Groups, values: Floats | None) -> float:
        return of_booleans(truth, groups, values)

    def learnt(self, model: Any) -> Learnt:
        classes = getattr(model, "classes_", None)
        known = None if classes is None else [bool(one) for one in np.asarray(classes).reshape(-1)]
        if known != [False, True]:
            raise InvalidDataError(
                f"classes_ of the fitted {type(model).__name__} is {classes!r}; it must be [False, True], the order of "
                "the columns of predict_proba"
            )
        return Learnt(self._classes, self.threshold)

    def scores(self, model: Any, matrix: Any, *, rows: int | None = None) -> Floats:
        found = model.predict_proba(matrix)
        if rows is not None:
            return judged_probabilities(found, rows, 2)[:, -1]
        return np.asarray(found, dtype=np.float64)[:, -1]

    def predictions(
        self,
        scores: Floats,
        learnt: Learnt,  # noqa: ARG002
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Predictions:
        return Predictions({PROBABILITY: scores})

    def outputs(self, predictions: Predictions) -> list[Outputs]:
        return [{PROBABILITY: score} for score in predictions[PROBABILITY].tolist()]

    def row_outputs(self, learnt: Learnt) -> RowOutputs:  # noqa: ARG002
        # NaN is in no range.
        return lambda score: {PROBABILITY: float(score)} if 0.0 <= score <= 1.0 else None

    def answers(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Answer]:
        negative, positive, threshold = learnt.classes[0], learnt.classes[-1], learnt.threshold
        return [
            {PROBABILITY: score, "label": positive if score >= threshold else negative}
            for score in [one[PROBABILITY] for one in outputs]
        ]

    def tensors(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Tensor]:
        scores = [one[PROBABILITY] for one in outputs]
        negative, positive, threshold = learnt.classes[0], learnt.classes[-1], learnt.threshold
        labels = [positive if score >= threshold else negative for score in scores]
        return [
            Tensor(PROBABILITY, "FP64", (len(scores),), scores),
            label_tensor(labels, learnt.classes),
        ]

    def described(self, learnt: Learnt) -> list[Tensor]:
        return [Tensor(PROBABILITY, "FP64", (-1,)), Tensor("label", label_datatype(learnt.classes), (-1,))]

    def of_tensors(self, tensors: Sequence[Tensor]) -> list[Outputs | None] | None:
        found = number_tensor(tensors, PROBABILITY)
        if found is None:
            return None
        # Of the two probabilities that other servers give, the last is that of the positive class.
        scores = [as_number(row[-1]) if len(row) <= 2 else None for row in found.by_row()]
        return [None if score is None else {PROBABILITY: score} for score in scores]

    def unsound(self, predictions: Predictions) -> Booleans:
        probability = predictions[PROBABILITY]
        return ~((probability >= 0) & (probability <= 1))

    def disagree(
        self,
        first: Predictions,
        second: Predictions,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Booleans:
        one, other = first[PROBABILITY], second[PROBABILITY]
        decided: Booleans = ((one >= self.threshold) != (other >= self.threshold)) & (
            np.abs(one - other) > SAME
        )
        return decided

    def baseline(self, truth: Truth, rows: int) -> Predictions:
        return Predictions({PROBABILITY: np.full(rows, float(np.mean(truth)))})

    def details(
        self,
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        if not len(truth):
            return {}
        (hit, false_alarm, miss, right), *_ = (
            _cells(truth, predictions, self.threshold).sum(axis=0, keepdims=True).tolist()
        )
        names = [one if isinstance(one, str) else str(one).lower() for one in self._classes]
        return {
            "tables": [
                {
                    "title": "Confusion matrix",
                    "of_rows": "label",
                    "of_columns": "answer",
                    "rows": names,
                    "columns": names,
                    "cells": [[int(right), int(false_alarm)], [int(miss), int(hit)]],
                    "notes": [f"answered {names[1]} from a probability of {self.threshold:.3g} on"],
                }
            ]
        }

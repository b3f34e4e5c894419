"""Which one of several classes: a probability of each, and the most probable one as the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import orjson

from capstan.errors import InvalidDataError
from capstan.spec.tasks import MULTICLASS
from capstan.tasks.classes import (
    LABEL,
    PREFIX,
    chance_of,
    columns_by_class,
    confusion,
    is_clipped,
    log_losses,
    macro_f1,
    micro_f1,
    misses,
    of_counts,
    one_against_the_others,
    said,
    unknown_classes,
)
from capstan.tasks.disclosure import of_categories
from capstan.tasks.labels import LABELS, MOST_TOLD
from capstan.tasks.metric import Booleans, Floats, Groups, Metric, Truth, from_losses, from_sums
from capstan.tasks.predictions import Learnt, Predictions
from capstan.tasks.probabilities import (
    SAME,
    TOLERANCE,
    calibration_error,
    calibration_gaps,
    judged_probabilities,
)
from capstan.tasks.task import Answer, Outputs, RowOutputs
from capstan.tasks.tensors import Tensor, as_number

if TYPE_CHECKING:
    from capstan.spec.objective import Objective
    from capstan.spec.value import AnswerValue

PROBABILITIES = "probabilities"
CLASSES = "classes"
"""Parameter of the tensor of probabilities: the classes of its columns as a JSON list, for a parameter is one text."""


def _gaps(truth: Truth, predictions: Predictions) -> Floats:
    """Of the class that was answered: was it as sure as it was right?"""
    answered = said(predictions)
    return calibration_gaps(chance_of(answered, predictions), answered == truth)


def _value_metric(worth: AnswerValue) -> Metric:
    """What answers are worth; its loss is what is missed of a right one."""
    right, wrong = worth.right or 0.0, worth.wrong or 0.0

    def losses(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:  # noqa: ARG001
        answered = said(predictions)
        found: Floats = np.where(answered == truth, 0.0, right - wrong)
        for pair in worth.pairs:
            found[(truth == pair.label) & (answered == pair.answer)] = right - pair.worth
        return found

    return from_losses(worth.facts, losses, best=right)


def _metrics(worth: AnswerValue | None) -> Mapping[str, Metric]:
    fact = MULTICLASS.metric
    made = (
        one_against_the_others(fact("rocAuc")),
        from_losses(fact("logLoss"), log_losses, clipped=is_clipped),
        from_losses(fact("accuracy"), misses),
        of_counts(fact("macroF1"), macro_f1),
        of_counts(fact("microF1"), micro_f1),
        from_sums(fact("calibrationError"), _gaps, calibration_error),
        *(() if worth is None else (_value_metric(worth),)),
    )
    return {metric.name: metric for metric in made}


class MulticlassClassification:
    """A label that is one of several classes, and the probability of each."""

    facts = MULTICLASS
    label = LABELS["Category"]
    sound = "a probability from 0 to 1 of each class, which make 1 together"
    method = "predict_proba"
    disclosure = "a share of classes told"

    def __init__(self, worth: AnswerValue | None = None) -> None:
        """`worth`: what answers are worth; None: nothing is stated. The most probable class is answered in any case."""
        self._worth = worth
        if worth is not None:
            self.facts = self.facts.with_metrics((worth.facts,))
        self.metrics = _metrics(worth)

    def with_objective(self, objective: Objective) -> Self:
        return self if objective.value is None else type(self)(objective.value)

    def disclosed(self, truth: Truth, groups: Groups, values: Floats | None) -> float:
        return of_categories(truth, groups, values)

    def learnt(self, model: Any) -> Learnt:
        classes = getattr(model, "classes_", None)
        known = [] if classes is None else np.asarray(classes).reshape(-1).tolist()
        if len(known) < 2 or len(set(known)) < len(known) or not all(isinstance(one, str) for one in known):
            raise InvalidDataError(
                f"classes_ of the fitted {type(model).__name__} is {classes!r}; it must hold the "
                "labels as texts, at least two, each once, in the order of the columns of predict_proba"
            )
        return Learnt(tuple(known))

    def scores(self, model: Any, matrix: Any, *, rows: int | None = None) -> Floats:
        found = model.predict_proba(matrix)
        if rows is not None:
            return judged_probabilities(found, rows, len(model.classes_))
        return np.asarray(found, dtype=np.float64)

    def predictions(
        self,
        scores: Floats,
        learnt: Learnt,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Predictions:
        # No rows may come as an array without columns.
        scores = scores.reshape(len(scores), len(learnt.classes))
        classes = np.array(learnt.classes, dtype=object)
        columns: dict[str, Any] = {LABEL: classes[scores.argmax(axis=1)].astype(str)}
        for index, name in enumerate(learnt.classes):
            columns[f"{PREFIX}{name}"] = scores[:, index]
        return Predictions(columns)

    def outputs(self, predictions: Predictions) -> list[Outputs]:
        names = tuple(predictions.columns)
        columns = [predictions[name].tolist() for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def row_outputs(self, learnt: Learnt) -> RowOutputs:
        classes = learnt.classes
        names = tuple(f"{PREFIX}{name}" for name in classes)
        least, most = 1 - TOLERANCE, 1 + TOLERANCE

        def outputs(score: Any) -> Outputs | None:
            values = score if type(score) is tuple else score.tolist()
            # NaN is in no range.
            if not (least <= sum(values) <= most and min(values) >= 0.0):
                return None
            found: Outputs = {LABEL: classes[values.index(max(values))]}
            found.update(zip(names, values, strict=True))
            return found

        return outputs

    def answers(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Answer]:
        names = [(str(name), f"{PREFIX}{name}") for name in learnt.classes]
        return [
            {LABEL: one[LABEL], PROBABILITIES: {name: one[column] for name, column in names}}
            for one in outputs
        ]

    def tensors(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Tensor]:
        columns = [f"{PREFIX}{name}" for name in learnt.classes]
        scores, labels = self.described(learnt)
        return [
            scores._replace(
                shape=(len(outputs), len(columns)),
                data=[one[column] for one in outputs for column in columns],
            ),
            labels._replace(shape=(len(outputs),), data=[one[LABEL] for one in outputs]),
        ]

    def described(self, learnt: Learnt) -> list[Tensor]:
        named = {CLASSES: orjson.dumps(learnt.classes).decode()}
        return [
            Tensor(PROBABILITIES, "FP64", (-1, len(learnt.classes)), parameters=named),
            Tensor(LABEL, "BYTES", (-1,)),
        ]

    def of_tensors(self, tensors: Sequence[Tensor]) -> list[Outputs | None] | None:
        found = next((one for one in tensors if CLASSES in (one.parameters or {})), None)
        if found is None:
            # Probabilities of nobody knows which classes.
            return None
        classes = _classes(found)
        answers: list[Outputs | None] = []
        for row in found.by_row():
            values = [as_number(value) for value in row]
            known = [value for value in values if value is not None]
            if len(known) != len(classes):
                answers.append(None)
                continue
            outputs: Outputs = {LABEL: classes[known.index(max(known))]}
            outputs.update((f"{PREFIX}{name}", value) for name, value in zip(classes, known, strict=True))
            answers.append(outputs)
        return answers

    def unsound(self, predictions: Predictions) -> Booleans:
        columns = [predictions[column] for column in columns_by_class(predictions).values()]
        total = np.sum(columns, axis=0) if columns else np.zeros(len(predictions))
        sound: Booleans = np.abs(total - 1) <= TOLERANCE
        for column in columns:
            sound &= column >= 0
        return ~sound

    def disagree(
        self,
        first: Predictions,
        second: Predictions,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Booleans:
        differs = said(first) != said(second)
        close = np.ones(len(differs), dtype=np.bool_)
        one, other = columns_by_class(first), columns_by_class(second)
        nothing = np.zeros(len(differs))
        for name in one.keys() | other.keys():
            values = [
                found[columns[name]] if name in columns else nothing
                for found, columns in ((first, one), (second, other))
            ]
            close &= np.abs(values[0] - values[1]) <= SAME
        # Two classes that are as probable may come in either order by different paths.
        found: Booleans = differs & ~close
        return found

    def baseline(self, truth: Truth, rows: int) -> Predictions:
        names, counts = np.unique(truth, return_counts=True)
        shares = counts / counts.sum()
        return self.predictions(np.tile(shares, (rows, 1)), Learnt(tuple(names.tolist())))

    def details(
        self,
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        if not len(truth):
            return {}
        unknown = unknown_classes(truth, predictions)
        notes = [*_strange(unknown), *self._unmet(truth, predictions)]
        return {"tables": [confusion(truth, predictions)], "unknown": unknown, "notes": notes}

    def _unmet(self, truth: Truth, predictions: Predictions) -> list[str]:
        """Classes of the worths that no row has: a word that is written wrong would count nowhere, in silence."""
        if self._worth is None:
            return []
        named = {name for pair in self._worth.pairs for name in (pair.label, pair.answer)}
        unmet = sorted(named - set(truth.tolist()) - columns_by_class(predictions).keys())
        told = ", ".join(map(repr, unmet))
        return (
            [f"objective.value.pairs name classes that no row here is or could be answered: {told}"]
            if unmet
            else []
        )


def _strange(unknown: Mapping[str, int]) -> list[str]:
    if not unknown:
        return []
    rows = sum(unknown.values())
    told = ", ".join(f"{name!r} {count:,}" for name, count in list(unknown.items())[:MOST_TOLD])
    more = f" and {len(unknown) - MOST_TOLD} more classes" if len(unknown) > MOST_TOLD else ""
    label = "1 label is of a class" if rows == 1 else f"{rows:,} labels are of classes"
    return [f"{label} that the model does not know ({told}{more}): a miss each, with the largest loss"]


def _classes(tensor: Tensor) -> list[str]:
    """The classes that the tensor names; none where its parameter is no list of texts."""
    try:
        found = orjson.loads((tensor.parameters or {})[CLASSES])
    except (orjson.JSONDecodeError, TypeError):
        return []
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else []

"""How unusual a row is: a score, and a flag on the most unusual rows. Labels are optional, and only judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from capstan.errors import InvalidDataError
from capstan.spec.tasks import ANOMALIES, USUAL_FLAGGED_SHARE
from capstan.tasks.areas import (
    average_precision,
    average_precision_of_days,
    roc_auc,
    roc_auc_of_days,
)
from capstan.tasks.disclosure import of_booleans
from capstan.tasks.labels import Words, label_of
from capstan.tasks.metric import (
    Booleans,
    DayWeights,
    Floats,
    Groups,
    Metric,
    Place,
    Truth,
    Weights,
    divided,
    from_losses,
    from_sums,
    of_rows,
    share,
)
from capstan.tasks.predictions import Learnt, Predictions
from capstan.tasks.scores import judged_numbers
from capstan.tasks.task import Answer, Outputs, RowOutputs
from capstan.tasks.tensors import Tensor, as_number

if TYPE_CHECKING:
    from capstan.spec.objective import Objective

SCORE, FLAGGED = "score", "flagged"
NEVER_FLAGGED = 1.0
"""Threshold of who looks at no column: no row of theirs is unusual."""
_METHOD, _OFFSET = "score_samples", "offset_"


def is_known(truth: Truth, groups: Groups | None = None) -> Booleans:  # noqa: ARG001
    """(n,): which rows have a label."""
    known: Booleans = ~np.isnan(truth.astype(np.float64))
    return known


def flags(predictions: Predictions) -> Booleans:
    """(n,): which rows are flagged; one whose flag is missing is not."""
    found: Booleans = np.equal(predictions[FLAGGED], True).astype(np.bool_)
    return found


def precision_at_share(truth: Booleans, score: Floats, weights: Weights | None, part: float) -> float:
    """Share of anomalies among the most unusual rows, which are so large a part of all; nan without an anomaly.

    Of rows with one score as much of each counts as fits.
    """
    counted = np.ones(len(truth)) if weights is None else weights
    room = part * counted.sum()
    if not room or not (counted * truth).sum():
        return math.nan
    _, place = np.unique(-score, return_inverse=True)
    place = place.reshape(-1)
    rows, hits = (
        np.bincount(place, weights=of_row).astype(np.float64) for of_row in (counted, counted * truth)
    )
    taken = np.clip(room - (np.cumsum(rows) - rows), 0, rows)
    return float(taken @ share(hits, rows) / room)


def _by_known_labels(
    name: str,
    value: Callable[[Booleans, Floats, Weights | None], float],
    of_days: Callable[[Booleans, Floats, Place, DayWeights], Floats],
) -> Metric:
    """A metric of the order that scores give to the rows that have a label."""

    def of_window(truth: Truth, predictions: Predictions, weights: Weights | None) -> float:
        known = is_known(truth)
        counted = None if weights is None else weights[known]
        return value(truth[known] == 1, predictions[SCORE][known], counted)

    def resampled(truth: Truth, predictions: Predictions, place: Place, weights: DayWeights) -> Floats:
        known = is_known(truth)
        if not known.any():
            return np.full(len(weights), np.nan)
        return of_days(truth[known] == 1, predictions[SCORE][known], place[known], weights)

    return _of_labelled(of_rows(ANOMALIES.metric(name), of_window, resampled))


def _of_labelled(metric: Metric) -> Metric:
    """The metric, which says that rows without a label are no evidence to it."""
    return replace(metric, judges=is_known, wants="a label")


def _precision_at(part: float) -> Metric:
    def value(truth: Booleans, score: Floats, weights: Weights | None) -> float:
        return precision_at_share(truth, score, weights, part)

    def of_days(truth: Booleans, score: Floats, place: Place, weights: DayWeights) -> Floats:
        found = [precision_at_share(truth, score, drawn[place], part) for drawn in weights]
        return np.array(found, dtype=np.float64)

    return _by_known_labels("precisionAtShare", value, of_days)


def _cells(truth: Truth, predictions: Predictions) -> Floats:
    """(n, 5): true positive, false positive, false negative, flagged, has a label."""
    flagged, known = flags(predictions), is_known(truth)
    so, not_so = truth == 1, truth == 0
    cells = (flagged & so, flagged & not_so, ~flagged & so, flagged, known)
    found: Floats = np.stack(cells, axis=1).astype(np.float64)
    return found


def _where_known(sums: Floats, found: Floats) -> Floats:
    labelled: Floats = np.where(sums[:, 4] > 0, found, np.nan)
    return labelled


def _precision(sums: Floats, rows: Floats) -> Floats:  # noqa: ARG001
    return _where_known(sums, share(sums[:, 0], sums[:, 0] + sums[:, 1]))


def _recall(sums: Floats, rows: Floats) -> Floats:  # noqa: ARG001
    return _where_known(sums, share(sums[:, 0], sums[:, 0] + sums[:, 2]))


def _wrong_flags(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:  # noqa: ARG001
    wrong: Floats = (is_known(truth) & (flags(predictions) != (truth == 1))).astype(np.float64)
    return wrong


def _gap(part: float) -> Metric:
    def finish(sums: Floats, rows: Floats) -> Floats:
        gap: Floats = np.abs(divided(sums[:, 3], rows) - part)
        return gap

    return from_sums(ANOMALIES.metric("flaggedShareGap"), _cells, finish)


def _metrics(part: float) -> Mapping[str, Metric]:
    fact = ANOMALIES.metric
    made = (
        _by_known_labels("averagePrecision", average_precision, average_precision_of_days),
        _by_known_labels("rocAuc", roc_auc, roc_auc_of_days),
        _precision_at(part),
        _of_labelled(from_sums(fact("precision"), _cells, _precision)),
        _of_labelled(from_sums(fact("recall"), _cells, _recall)),
        from_losses(fact("accuracy"), _wrong_flags, judges=is_known, wants="a label"),
        _gap(part),
    )
    return {metric.name: metric for metric in made}


class AnomalyDetection:
    """A score, higher for a more unusual row, and whether it is above the threshold that training has set.

    A model is asked as scikit-learn's detectors are: `score_samples`, lower for a more unusual row, and `offset_`,
    below which a row is flagged. The score is `-score_samples`. A label is 1 for an anomaly, 0 for none, nan where
    nobody has looked.
    """

    sound = "a finite number"
    method = _METHOD
    disclosure = "ROC-AUC"

    def __init__(self, flagged_share: float = USUAL_FLAGGED_SHARE, words: Words | None = None) -> None:
        """`flagged_share`: of the rows that are learnt from, so many are flagged. `words`: how labels are written."""
        self.facts = replace(ANOMALIES, flagged_share=flagged_share)
        self.metrics = _metrics(flagged_share)
        self.label = label_of("Anomaly", words)

    def with_objective(self, objective: Objective) -> Self:
        asked = USUAL_FLAGGED_SHARE if objective.flagged_share is None else float(objective.flagged_share)
        return type(self)(asked, objective.words)

    def disclosed(self, truth: Truth, groups: Groups, values: Floats | None) -> float:
        known = is_known(truth)
        if not known.any():
            return math.nan
        return of_booleans(truth[known] == 1, groups[known], None if values is None else values[known])

    def learnt(self, model: Any) -> Learnt:
        last = model.steps[-1][1] if hasattr(model, "steps") else model
        offset = getattr(last, _OFFSET, None)
        if offset is None or not math.isfinite(offset):
            raise InvalidDataError(
                f"{_OFFSET} of the fitted {type(last).__name__} is {offset!r}; it must be the finite number below "
                f"which {_METHOD} of a row means that it is flagged, as detectors of scikit-learn have it"
            )
        return Learnt(threshold=-float(offset))

    def scores(self, model: Any, matrix: Any, *, rows: int | None = None) -> Floats:
        found = model.score_samples(matrix)
        if rows is not None:
            return -judged_numbers(found, rows)
        return -np.asarray(found, dtype=np.float64)

    def predictions(
        self,
        scores: Floats,
        learnt: Learnt,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Predictions:
        return Predictions({SCORE: scores, FLAGGED: scores > learnt.threshold})

    def outputs(self, predictions: Predictions) -> list[Outputs]:
        pairs = zip(predictions[SCORE].tolist(), flags(predictions).tolist(), strict=True)
        return [{SCORE: score, FLAGGED: flagged} for score, flagged in pairs]

    def row_outputs(self, learnt: Learnt) -> RowOutputs:
        is_finite, threshold = math.isfinite, learnt.threshold
        return lambda score: (
            {SCORE: float(score), FLAGGED: bool(score > threshold)} if is_finite(score) else None
        )

    def answers(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Answer]:  # noqa: ARG002
        return [{SCORE: one[SCORE], FLAGGED: one[FLAGGED]} for one in outputs]

    def tensors(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Tensor]:  # noqa: ARG002
        rows = (len(outputs),)
        return [
            Tensor(SCORE, "FP64", rows, [one[SCORE] for one in outputs]),
            Tensor(FLAGGED, "BOOL", rows, [one[FLAGGED] for one in outputs]),
        ]

    def described(self, learnt: Learnt) -> list[Tensor]:  # noqa: ARG002
        return [Tensor(SCORE, "FP64", (-1,)), Tensor(FLAGGED, "BOOL", (-1,))]

    def of_tensors(self, tensors: Sequence[Tensor]) -> list[Outputs | None] | None:
        named = {tensor.name: tensor.by_row() for tensor in tensors}
        if SCORE not in named or FLAGGED not in named:
            return None
        found: list[Outputs | None] = []
        for said, flagged in zip(named[SCORE], named[FLAGGED], strict=True):
            score = as_number(said[0]) if len(said) == 1 else None
            is_flag = len(flagged) == 1 and isinstance(flagged[0], bool)
            found.append({SCORE: score, FLAGGED: flagged[0]} if score is not None and is_flag else None)
        return found

    def unsound(self, predictions: Predictions) -> Booleans:
        lacking: Booleans = ~np.isfinite(predictions[SCORE])
        return lacking

    def disagree(
        self,
        first: Predictions,
        second: Predictions,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Booleans:
        differing: Booleans = flags(first) != flags(second)
        return differing

    def baseline(self, truth: Truth, rows: int) -> Predictions:  # noqa: ARG002
        return Predictions({SCORE: np.zeros(rows), FLAGGED: np.zeros(rows, dtype=np.bool_)})

    def details(
        self,
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        if not len(truth):
            return {}
        flagged, known = flags(predictions), is_known(truth)
        wanted = self.facts.flagged_share or 0.0
        told = (
            f"{int(flagged.sum()):,} of {len(flagged):,} rows are flagged, {flagged.mean():.2%}; the threshold was set "
            f"so that {wanted:.2%} of the rows that were learnt from are"
        )
        if not known.any():
            unjudged = "no row has a label, so nobody can say which flags are right"
            return {"notes": [f"{told}; {unjudged}"]}
        so = truth == 1
        cells = [
            [int((~flagged & known & ~so).sum()), int((flagged & known & ~so).sum())],
            [int((~flagged & so).sum()), int((flagged & so).sum())],
        ]
        without = int((~known).sum())
        return {
            "notes": [told],
            "tables": [
                {
                    "title": "Flags and labels",
                    "of_rows": "label",
                    "of_columns": "answer",
                    "rows": ["ordinary", "anomaly"],
                    "columns": ["not flagged", "flagged"],
                    "cells": cells,
                    "notes": [f"{without:,} rows without a label are not counted"] if without else [],
                }
            ],
        }

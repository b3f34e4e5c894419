"""Metrics of one class out of several: columns of probabilities by class, and counts of what was said and what came.

A class that the model never saw has no column. Its probability is 0 then: log loss is bounded as for any other row,
the row is no hit, and the class ranks nothing above anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.spec.tasks import MetricFacts
from capstan.tasks.areas import roc_auc, roc_auc_of_days
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
    of_rows,
    share,
)
from capstan.tasks.predictions import Predictions
from capstan.tasks.probabilities import is_bounded, log_losses_of

LABEL = "label"
PREFIX = "probability."
MOST_SHOWN = 20
"""Classes of a confusion matrix; the most frequent ones."""


def columns_by_class(predictions: Predictions) -> dict[str, str]:
    """Class -> its column of probabilities."""
    return {name.removeprefix(PREFIX): name for name in predictions.columns if name.startswith(PREFIX)}


def chance_of(classes: Truth, predictions: Predictions) -> Floats:
    """(n,): the probability that each row gave to its own class of `classes`; 0 where it has no column."""
    columns = _folded_columns(predictions)
    names, place = np.unique(classes, return_inverse=True)
    place = place.reshape(-1)
    chance = np.zeros(len(classes), dtype=np.float64)
    for index, name in enumerate(names.tolist()):
        column = columns.get(_folded(name))
        if column is not None:
            rows = place == index
            chance[rows] = predictions[column][rows]
    return chance


def _folded_columns(predictions: Predictions) -> dict[bytes, str]:
    return {_folded(name): column for name, column in columns_by_class(predictions).items()}


def _folded(name: str) -> bytes:
    """Without the case of ASCII's letters: so DuckDB, which reads stored payloads, compares the names of columns."""
    return name.encode().lower()


def said(predictions: Predictions) -> npt.NDArray[Any]:
    """(n,) texts: the class that each row was answered."""
    texts: npt.NDArray[Any] = predictions[LABEL].astype(str)
    return texts


def log_losses(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:  # noqa: ARG001
    return log_losses_of(chance_of(truth, predictions))


def is_clipped(truth: Truth, predictions: Predictions) -> Booleans:
    return is_bounded(chance_of(truth, predictions))


def misses(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:  # noqa: ARG001
    """1 for a row whose answer is another class than its label, else 0."""
    found: Floats = (said(predictions) != truth).astype(np.float64)
    return found


def of_counts(facts: MetricFacts, finish: Callable[[Floats, Floats, Floats], Floats]) -> Metric:
    """The metric that is a function of three counts of each class, (samples, classes) each.

    They are of rows that are the class and were answered so, that are it, and that were answered it.
    """

    def value(truth: Truth, predictions: Predictions, weights: Weights | None) -> float:
        if not len(truth):
            return math.nan
        true, answered, names = _codes(truth, predictions)
        size = len(names)
        counted = np.ones(len(truth)) if weights is None else weights
        hits = counted * (true == answered)
        counts: list[Floats] = [
            np.bincount(codes, weights=rows, minlength=size)[np.newaxis].astype(np.float64)
            for codes, rows in ((true, hits), (true, counted), (answered, counted))
        ]
        return float(finish(counts[0], counts[1], counts[2])[0])

    def resampled(truth: Truth, predictions: Predictions, place: Place, weights: DayWeights) -> Floats:
        true, answered, names = _codes(truth, predictions)
        size = len(names)
        days = weights.shape[1]
        rows = np.ones(len(truth))
        by_day = [
            np.bincount(place * size + codes, weights=counted, minlength=days * size).reshape(days, size)
            for codes, counted in ((true, rows * (true == answered)), (true, rows), (answered, rows))
        ]
        return finish(weights @ by_day[0], weights @ by_day[1], weights @ by_day[2])

    return of_rows(facts, value, resampled)


def _codes(truth: Truth, predictions: Predictions) -> tuple[Groups, Groups, npt.NDArray[Any]]:
    """True and answered class of each row by their places among the classes, and these."""
    names, codes = np.unique(np.concatenate([truth, said(predictions)]), return_inverse=True)
    codes = codes.reshape(-1).astype(np.int64)
    return codes[: len(truth)], codes[len(truth) :], names


def macro_f1(hits: Floats, true: Floats, answered: Floats) -> Floats:
    """Mean F1 of the classes that some row is or was answered, each counting alike."""
    each = share(2 * hits, true + answered)
    there = (true + answered > 0).sum(axis=1)
    return divided(each.sum(axis=1), there)


def micro_f1(hits: Floats, true: Floats, answered: Floats) -> Floats:
    """F1 of all classes counted together; every row has one class and one answer, so it equals accuracy."""
    return share(2 * hits.sum(axis=1), (true + answered).sum(axis=1))


def one_against_the_others(facts: MetricFacts) -> Metric:
    """Mean ROC-AUC of the classes that some rows are and others are not by turns (macro, one versus rest)."""

    def value(truth: Truth, predictions: Predictions, weights: Weights | None) -> float:
        areas = [roc_auc(is_it, score, weights) for is_it, score in _each(truth, predictions)]
        known = [area for area in areas if area == area]
        return float(np.mean(known)) if known else math.nan

    def resampled(truth: Truth, predictions: Predictions, place: Place, weights: DayWeights) -> Floats:
        total, known = np.zeros(len(weights)), np.zeros(len(weights))
        for is_it, score in _each(truth, predictions):
            area = roc_auc_of_days(is_it, score, place, weights)
            total += np.nan_to_num(area)
            known += np.isfinite(area)
        return divided(total, known)

    return of_rows(facts, value, resampled)


def _each(truth: Truth, predictions: Predictions) -> Iterator[tuple[Booleans, Floats]]:
    """Of each class among the labels which rows are it, and the probability that they are."""
    columns = _folded_columns(predictions)
    for name in np.unique(truth).tolist():
        column = columns.get(_folded(name))
        yield truth == name, np.zeros(len(truth)) if column is None else predictions[column]


def confusion(truth: Truth, predictions: Predictions) -> Mapping[str, Any]:
    """How often each true class was answered each class: a table of a task's details, of MOST_SHOWN classes."""
    true, answered, names = _codes(truth, predictions)
    size = len(names)
    counts = np.bincount(true, minlength=size) + np.bincount(answered, minlength=size)
    shown = np.sort(np.argsort(-counts, kind="stable")[:MOST_SHOWN])
    cells = np.bincount(true * size + answered, minlength=size * size).reshape(size, size)
    chosen = cells[np.ix_(shown, shown)]
    left_out = int(len(truth) - chosen.sum())
    more = (
        f"the {len(shown)} most frequent of {size} classes; {left_out:,} of {len(truth):,} rows are not in it"
    )
    return {
        "title": "Confusion matrix",
        "of_rows": "label",
        "of_columns": "answer",
        "rows": names[shown].tolist(),
        "columns": names[shown].tolist(),
        "cells": chosen.tolist(),
        "notes": [more] if left_out else [],
    }


def unknown_classes(truth: Truth, predictions: Predictions) -> dict[str, int]:
    """Classes among the labels to which the model gave no row any probability, and their rows."""
    known = {
        _folded(name)
        for name, column in columns_by_class(predictions).items()
        if (predictions[column] > 0).any()
    }
    names, counts = np.unique(truth, return_counts=True)
    return {
        name: count
        for name, count in zip(names.tolist(), counts.tolist(), strict=True)
        if _folded(name) not in known
    }

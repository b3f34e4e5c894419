"""What a metric is expected to be on rows whose labels are not known yet.

Of classes, each row stands there once for each class, weighed with the chance that it is of that class: so a confusion
matrix holds expected counts, and whatever is made of counts is made of those. This is the confidence-based estimation
that NannyML publishes as CBPE. Of numbers, each row has the loss that is expected of it (direct loss estimation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from capstan.tasks.classes import columns_by_class
from capstan.tasks.metric import Floats, Metric
from capstan.tasks.predictions import Predictions
from capstan.tasks.probabilities import PROBABILITY
from capstan.tasks.task import Task

MOST_CELLS = 4_000_000
"""Numbers that an estimate is made of: each row's answer stands there once for each class. They take 32 MB."""


@dataclass(frozen=True)
class Chances:
    """How probable each class is for each row."""

    classes: tuple[bool | str, ...]
    table: Floats
    """(n, classes); of two classes that are true and false the columns make 1 together."""


def said_chances(task: Task, predictions: Predictions) -> Chances | None:
    """The chances that the model itself says; None for a task whose answers are no classes."""
    if task.facts.label == "Boolean" and PROBABILITY in predictions.columns:
        so = np.asarray(predictions[PROBABILITY], dtype=np.float64)
        return Chances((True, False), np.stack([so, 1 - so], axis=1))
    if task.facts.label == "Category":
        columns = columns_by_class(predictions)
        names = tuple(sorted(columns))
        if names:
            table = np.stack([predictions[columns[name]] for name in names], axis=1)
            return Chances(names, np.asarray(table, dtype=np.float64))
    return None


def evenly_spread(predictions: Predictions, chances: Chances) -> slice:
    """The rows that an estimate is made of: all, or of very many every second, third, ... so that memory is bounded."""
    rows, classes = chances.table.shape
    cells = rows * classes * max(1, len(predictions.columns))
    return slice(None, None, max(1, -(-cells // MOST_CELLS)))


def expected_value(metric: Metric, predictions: Predictions, chances: Chances) -> float:
    """The metric in expectation over the labels; nan where it is not defined."""
    rows, count = chances.table.shape
    if not rows:
        return math.nan
    truth = np.repeat(np.array(chances.classes), rows)
    repeated = predictions.rows(np.tile(np.arange(rows), count))
    return metric.value(truth, repeated, None, chances.table.T.reshape(-1))

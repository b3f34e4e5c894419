"""The same metrics for parts of a window, so that a good mean can't hide a bad part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.evaluation.metrics import evaluate
from capstan.tasks import Predictions, Task
from capstan.tasks.metric import Groups, Truth, Weights, numbered

MOST_VALUES = 50
"""Slices beyond the largest so many are not listed."""


@dataclass(frozen=True)
class Slice:
    """Rows of one value of one column."""

    column: str
    value: str
    rows: int
    labels: Mapping[str, float]
    """What labels they have: rows of each class, or the range of numbers."""
    metrics: Mapping[str, float]
    """nan where so few rows do not define one."""


def texts_of(values: Sequence[Any]) -> npt.NDArray[np.str_]:
    """(n,): each value as text; a missing one is `(missing)`."""
    return np.array(["(missing)" if value is None else str(value) for value in values], dtype=np.str_)


def slice_metrics(
    task: Task,
    columns: Mapping[str, Sequence[Any]],
    truth: Truth,
    predictions: Predictions,
    groups: Groups | None = None,
    weights: Weights | None = None,
) -> tuple[Slice, ...]:
    """Metrics for every value of every column, the largest slices first.

    A column that has one value in a group gives slices of whole groups; any other puts the items of a value in order
    among themselves.
    """
    slices: list[Slice] = []
    for column, values in columns.items():
        names, place, counts = np.unique(texts_of(values), return_inverse=True, return_counts=True)
        for index in np.argsort(-counts, kind="stable")[:MOST_VALUES]:
            rows = place.reshape(-1) == index
            slices.append(
                Slice(
                    column,
                    str(names[index]),
                    int(counts[index]),
                    task.label.tally(truth[rows]).counts,
                    evaluate(
                        task,
                        truth[rows],
                        predictions.rows(rows),
                        None if groups is None else numbered(groups[rows]),
                        None if weights is None else weights[rows],
                    ),
                )
            )
    return tuple(slices)

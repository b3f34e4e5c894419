"""Fits what estimates the watched metric, on the test window and what a model said of it that had not seen it.

The model that is judged on the test window was fitted on everything before it. So its answers there are those of a
model that is closest to the one that will serve, and no further model has to be fitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from capstan.monitoring.estimates.estimator import Estimator, matrix_of, name_of, whole_chances
from capstan.monitoring.estimates.maps import fit_map, out_of_fold
from capstan.monitoring.estimates.seen import SeenColumn, seen_columns
from capstan.monitoring.estimates.trees import fit_trees
from capstan.monitoring.quality import LEAST_DAYS
from capstan.spec.features import Feature
from capstan.tasks import Metric, Predictions, Task
from capstan.tasks.expected import Chances, evenly_spread, expected_value, said_chances
from capstan.tasks.metric import Booleans, Floats, Place, Truth

FOLDS = 5
MOST_UNITS = 40
"""More days, or lots, are taken together: the metric is measured once without each."""
MOST_CLASSES = 20
"""Each row counts once for each class."""
LEAST_ROWS = 200
"""Fewer rows say too little about how often what is said comes so."""


def fit_estimator(
    task: Task,
    metric: Metric,
    features: Sequence[Feature],
    table: Any,
    truth: Truth,
    predictions: Predictions,
    units: Place,
    *,
    zone: str = "UTC",
) -> Estimator:
    """`table` is the Arrow table of the test window, `units` (n,) the day, or lot, of each of its rows.

    Where there can be no estimate, it is one that says why.
    """
    if metric.judges is not None and metric.facts.unit == "row":
        # Losses of the others are 0, which would be taken for right answers.
        kept = metric.judges(truth)
        table, truth, predictions, units = (
            table.filter(kept),
            truth[kept],
            predictions.rows(kept),
            units[kept],
        )
    nothing = Estimator(metric.name, (), None, 0, len(truth))
    if len(truth) < LEAST_ROWS:
        few = f"the test window has {len(truth):,} labelled rows, {LEAST_ROWS} are needed; make data.split.test longer"
        return replace(nothing, why_not=few)
    units = np.unique(units, return_inverse=True)[1].reshape(-1)
    days = int(units.max()) + 1
    count = min(days, MOST_UNITS)
    units = units * count // days
    folds = units * FOLDS // count
    seen = seen_columns(table, features, zone)
    said = said_chances(task, predictions)
    if said is not None and len(said.classes) > MOST_CLASSES:
        many = f"there are {len(said.classes)} classes; of more than {MOST_CLASSES} nothing is estimated"
        return replace(nothing, why_not=many)
    if said is None and metric.mean_loss is None:
        return replace(nothing, why_not=_no_mean(task, metric))
    found = (
        _of_classes(task, metric, seen, truth, predictions, units, folds)
        if said is not None
        else _of_losses(task, metric, seen, table, truth, predictions, units, folds)
    )
    return replace(found, days_per_unit=days / count)


def _no_mean(task: Task, metric: Metric) -> str:
    others = [name for name, one in task.metrics.items() if one.mean_loss is not None]
    if not others:
        return f"metrics of the task {task.facts.name} cannot be estimated without labels"
    return f"{metric.name} is no mean over rows; name one in monitoring.quality.metric: {', '.join(others)}"


def _of_classes(
    task: Task,
    metric: Metric,
    seen: tuple[SeenColumn, ...],
    truth: Truth,
    predictions: Predictions,
    units: Place,
    folds: Place,
) -> Estimator:
    said = said_chances(task, predictions)
    assert said is not None
    # Of true and false one map says both.
    mapped = said.classes[:1] if said.classes == (True, False) else said.classes
    maps = {
        name_of(one): fit_map(said.table[:, place], truth == one, folds) for place, one in enumerate(mapped)
    }
    outside = {
        one: out_of_fold(maps[name_of(one)].way, said.table[:, place], truth == one, folds)
        for place, one in enumerate(mapped)
    }
    table = np.stack([outside[one] for one in mapped], axis=1)
    if len(mapped) < len(said.classes):
        table = np.concatenate([table, 1 - table], axis=1)
    chances = whole_chances(table, said)

    # Fewer rows make days stray rather more, so the interval gets no narrower by it.
    some = evenly_spread(predictions, chances)
    came, answered, expected = truth[some], predictions.rows(some), chances.table[some]

    def gap(kept: Booleans) -> float:
        rows = answered.rows(kept)
        return metric.value(came[kept], rows) - expected_value(
            metric, rows, Chances(chances.classes, expected[kept])
        )

    asked = said.table[:, 0]
    return Estimator(
        metric.name,
        seen,
        _deviation(gap, units[some], int(units.max()) + 1),
        int(units.max()) + 1,
        len(truth),
        maps=maps,
        said=(float(asked.min()), float(asked.max())),
    )


def _of_losses(
    task: Task,
    metric: Metric,
    seen: tuple[SeenColumn, ...],
    table: Any,
    truth: Truth,
    predictions: Predictions,
    units: Place,
    folds: Place,
) -> Estimator:
    mean_loss = metric.mean_loss
    assert mean_loss is not None
    losses = mean_loss.losses(truth, predictions)
    matrix = matrix_of(seen, {one.feature: one.read(table[one.column]) for one in seen}, predictions, task)
    # A single day has no other one to be estimated by. Nothing is told then of how far days stray either.
    outside: Floats = losses.astype(np.float64)
    for fold in np.unique(folds):
        left = folds == fold
        if not left.all():
            outside[left] = fit_trees(matrix[~left], losses[~left]).predict(matrix[left])

    def gap(kept: Booleans) -> float:
        return mean_loss.finish(float(losses[kept].mean())) - mean_loss.finish(float(outside[kept].mean()))

    return Estimator(
        metric.name,
        seen,
        _deviation(gap, units, int(units.max()) + 1),
        int(units.max()) + 1,
        len(truth),
        trees=fit_trees(matrix, losses),
    )


def _deviation(gap: Callable[[Booleans], float], units: Place, count: int) -> float | None:
    """Of the gap between truth and estimate from one unit to the next, by a jackknife over `count` units."""
    if count < LEAST_DAYS:
        return None
    without = np.array([gap(units != unit) for unit in range(count)])
    if not np.isfinite(without).all():
        return None
    spread = (count - 1) / count * float(((without - without.mean()) ** 2).sum())
    return float(f"{math.sqrt(spread * count):.9g}")

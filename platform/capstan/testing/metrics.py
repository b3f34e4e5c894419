"""The suite of metrics: one value however it is computed, losses that average to it, and the way that is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from capstan.spec.tasks import Direction, MetricFacts
from capstan.tasks import Metric, Task, task_named
from capstan.tasks.metric import Groups, first_of_each, numbered
from capstan.tasks.own_metric import own_metric
from capstan.testing.conformance import Suite
from capstan.testing.toy_rows import Judged, ToyModel, ToyRows

_DAYS = 6
_TOLERANCE = 1e-9


def check_metric(
    metric: Metric | str,
    task: Task | str = "BinaryClassification",
    *,
    better: Direction = "Lower",
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Measure toy rows of the task by the metric; raises NotConformingError with all broken rules.

    `metric` may be `module:name` of a factory of your own, called with `parameters`; `better` is as in the file. Raises
    InvalidDataError that names the factory if it makes no metric.
    """
    task = task_named(task) if isinstance(task, str) else task
    if isinstance(metric, str):
        metric = own_metric(MetricFacts(metric, metric, better, "window"), metric, parameters or {})
    suite = Suite(metric.name)
    check_metric_rules(suite, metric, ToyRows.of(task, ToyModel(task)).judged())
    suite.require()


def check_metric_rules(suite: Suite, metric: Metric, judged: Judged) -> None:
    """The rules of `check_metric`, told to a suite that has others too."""
    truth, good, groups = judged.truth, judged.good, judged.groups
    value, units = np.nan, len(truth)
    with suite.rule(f"{metric.name}: it is a number, the same each time"):
        value = metric.value(truth, good, groups)
        assert np.isfinite(value)
        assert value == metric.value(truth, good, groups)
    if groups is not None and metric.facts.unit == "group":
        units = int(groups.max()) + 1
    with suite.rule(f"{metric.name}: weights that are all the same change nothing"):
        assert _equal(metric.value(truth, good, groups, np.full(units, 2.0)), value)
    with suite.rule(f"{metric.name}: the opposite is worse"):
        opposite = metric.value(truth, judged.reversed, groups)
        assert metric.facts.sign * (value - opposite) > 0, f"{value:g} and {opposite:g}"
    with suite.rule(f"{metric.name}: no rows have no value"):
        none = None if groups is None else groups[:0]
        assert np.isnan(metric.value(truth[:0], good.rows(slice(0)), none))
    with suite.rule(f"{metric.name}: rows of one label have a value, or none where its facts say so"):
        alone = [_of_label(metric, judged, label) for label in np.unique(truth)[:2]]
        if metric.facts.needs_classes:
            assert np.isnan(alone).any(), f"{alone}, though one class says nothing by it"
    _check_days(suite, metric, judged, units)
    _check_losses(suite, metric, judged, value, units)


def _of_label(metric: Metric, judged: Judged, label: object) -> float:
    same = judged.truth == label
    groups = None if judged.groups is None else numbered(judged.groups[same])
    return metric.value(judged.truth[same], judged.good.rows(same), groups)


def _check_days(suite: Suite, metric: Metric, judged: Judged, units: int) -> None:
    truth, good, groups = judged.truth, judged.good, judged.groups
    if groups is None:
        day_of_unit = day_of_row = np.arange(units) * _DAYS // units
    else:
        # Every row of a group is of one day.
        day_of_group = np.arange(int(groups.max()) + 1) * _DAYS // (int(groups.max()) + 1)
        day_of_row = day_of_group[groups]
        day_of_unit = day_of_group if metric.facts.unit == "group" else day_of_row
    drawn = np.random.default_rng(2).multinomial(_DAYS, np.full(_DAYS, 1 / _DAYS), size=12)
    with suite.rule(f"{metric.name}: days that are drawn by weights are days whose rows are drawn"):
        found = metric.resampled(truth, good, groups, day_of_unit, drawn.astype(np.float64))
        expected = []
        for weights in drawn:
            rows = np.concatenate(
                [np.tile(np.flatnonzero(day_of_row == day), weights[day]) for day in range(_DAYS)]
            )
            expected.append(metric.value(truth[rows], good.rows(rows), _copied(groups, day_of_row, weights)))
        assert np.allclose(found, expected, atol=_TOLERANCE, equal_nan=True), (
            f"{found[:3]} and {expected[:3]}"
        )
    with suite.rule(f"{metric.name}: a day that counts twice is a day whose rows count twice"):
        counted = (1 + (day_of_unit == 0)).astype(np.float64)
        once = np.ones((1, _DAYS))
        once[0, 0] = 2
        by_day = metric.resampled(truth, good, groups, day_of_unit, once)[0]
        assert _equal(metric.value(truth, good, groups, counted), by_day)


def _copied(groups: Groups | None, day_of_row: Groups, weights: Groups) -> Groups | None:
    """Groups of drawn rows: a group that is drawn twice is two."""
    if groups is None:
        return None
    parts: list[Groups] = []
    for day in range(_DAYS):
        inside = groups[day_of_row == day]
        parts += [inside + (len(parts) + copy) * 1_000_000 for copy in range(weights[day])]
    return numbered(np.concatenate(parts))


def _check_losses(suite: Suite, metric: Metric, judged: Judged, value: float, units: int) -> None:
    truth, good, groups = judged.truth, judged.good, judged.groups
    with suite.rule(f"{metric.name}: it has losses if its facts say so, and else none"):
        assert (metric.losses is not None) == metric.facts.is_paired
    if metric.losses is None:
        return
    losses = metric.losses
    with suite.rule(f"{metric.name}: losses are finite, one for each row or group"):
        found = losses(truth, good, groups)
        assert found.shape == (units,), f"{found.shape} for {units}"
        assert np.isfinite(found).all()
        none = None if groups is None else groups[:0]
        assert losses(truth[:0], good.rows(slice(0)), none).shape == (0,)
    with suite.rule(
        f"{metric.name}: losses average to the value, or to what it lacks to 1 where more is better"
    ):
        found = losses(truth, good, groups)
        judged_units = (
            np.ones(units, dtype=np.bool_) if metric.judges is None else metric.judges(truth, groups)
        )
        assert judged_units.shape == (units,)
        assert not found[~judged_units].any(), "a unit that it does not judge has a loss"
        mean = float(found[judged_units].mean())
        assert _equal(mean if metric.facts.direction == "Lower" else metric.best - mean, value)
    with suite.rule(f"{metric.name}: it tells a constant model from one that has learnt"):
        by = [float(losses(truth, predictions, groups).mean()) for predictions in (good, judged.baseline)]
        assert by[0] < by[1], f"{by[0]:g} and {by[1]:g}"
    with suite.rule(f"{metric.name}: a loss is that of its own row or group alone"):
        chosen = np.arange(len(truth)) % 2 == 0
        if groups is not None:
            chosen = groups % 2 == 0
        inner = None if groups is None else numbered(groups[chosen])
        alone = losses(truth[chosen], good.rows(chosen), inner)
        of_unit = chosen if groups is None or metric.facts.unit == "row" else chosen[first_of_each(groups)]
        assert np.allclose(alone, losses(truth, good, groups)[of_unit], atol=_TOLERANCE)


def _equal(one: float, other: float) -> bool:
    return bool(np.isclose(one, other, rtol=1e-9, atol=_TOLERANCE, equal_nan=True))

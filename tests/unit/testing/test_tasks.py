"""Every task and metric keeps its suite, and the suite tells a task that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from capstan.tasks import TASKS, Metric, Task
from capstan.tasks.binary import BinaryClassification
from capstan.testing import NotConformingError, check_metric, check_task


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_and_its_metrics_keep_their_suites(task: Task) -> None:
    check_task(task)


class _TakesNaN(BinaryClassification):
    def unsound(self, predictions: Any) -> Any:
        return np.zeros(len(predictions), dtype=np.bool_)


class _AgreesAlways(BinaryClassification):
    def disagree(self, first: Any, second: Any) -> Any:
        return np.zeros(len(first), dtype=np.bool_)


class _LooksAtTheRow(BinaryClassification):
    def baseline(self, truth: Any, rows: int) -> Any:
        found = super().baseline(truth, rows)
        found["probability"][0] = 0.9
        return found


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (_TakesNaN(), "a score of nan is unsound"),
        (_AgreesAlways(), "not with its opposite"),
        (_LooksAtTheRow(), "a baseline looks at no row"),
    ],
    ids=["takes NaN", "agrees always", "no constant baseline"],
)
def test_the_suite_tells_a_task_that_breaks_a_rule(task: Task, says: str) -> None:
    with pytest.raises(NotConformingError, match=says):
        check_task(task)


BINARY = TASKS["BinaryClassification"]
LOG_LOSS = BINARY.metrics["logLoss"]


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (
            replace(LOG_LOSS, losses=lambda t, p, _=None: 2 * LOG_LOSS.losses(t, p)),
            "losses average to the value",
        ),  # type: ignore[misc]
        (replace(LOG_LOSS, facts=replace(LOG_LOSS.facts, direction="Higher")), "the opposite is worse"),
        (replace(LOG_LOSS, losses=None), "it has losses if its facts say so"),
    ],
    ids=["losses of another size", "the wrong way", "no losses"],
)
def test_the_suite_tells_a_metric_that_breaks_a_rule(metric: Metric, says: str) -> None:
    with pytest.raises(NotConformingError, match=says):
        check_metric(metric, BINARY)

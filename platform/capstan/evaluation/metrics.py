"""All metrics of a task over a window."""

from __future__ import annotations

import math

from capstan.tasks import Predictions, Task
from capstan.tasks.metric import Groups, Truth, Weights


def evaluate(
    task: Task,
    truth: Truth,
    predictions: Predictions,
    groups: Groups | None = None,
    weights: Weights | None = None,
) -> dict[str, float]:
    """All metrics by name; nan where the window does not define one. An unsound prediction makes all nan."""
    if not len(truth) or task.unsound(predictions).any():
        return dict.fromkeys(task.metrics, math.nan)
    settled = predictions.settled()
    return {name: metric.value(truth, settled, groups, weights) for name, metric in task.metrics.items()}

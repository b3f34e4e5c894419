"""Which metrics a task knows, which of them can be compared request by request, and which way is better."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

Metric = Annotated[str, StringConstraints(min_length=1, max_length=63)]
"""Name of a metric; checked against the task in `capstan.spec.rules`."""

METRICS: dict[str, tuple[str, ...]] = {
    "BinaryClassification": (
        "rocAuc",
        "averagePrecision",
        "logLoss",
        "brierScore",
        "accuracy",
        "f1",
        "precision",
        "recall",
        "calibrationError",
    ),
}
"""Task -> metrics of whole windows."""
PAIRED_LOSSES: dict[str, tuple[str, ...]] = {"BinaryClassification": ("logLoss", "brierScore")}
"""Task -> metrics that each single request has, so that two versions can be compared on the same requests."""
LOWER_IS_BETTER = frozenset({"logLoss", "brierScore", "calibrationError"})

NEEDS_BOTH_CLASSES = frozenset({"rocAuc", "averagePrecision"})
"""Metrics that say nothing about rows with labels of one class."""

Direction = Literal["Higher", "Lower"]


def better(metric: str) -> Direction:
    """Which way the metric improves."""
    return "Lower" if metric in LOWER_IS_BETTER else "Higher"

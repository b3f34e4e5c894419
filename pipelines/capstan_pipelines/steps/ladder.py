"""The ladder of a run: its candidates from simple to complex, how good each is and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capstan.evaluation.tables import Cell, table
from capstan.spec.tasks import MetricFacts


def ladder(candidates: Sequence[Mapping[str, Any]], metric: MetricFacts, reason: str) -> dict[str, Any]:
    """A table of what the step `fit` wrote of each candidate; a failed one has no values."""
    return table(
        "Ladder",
        ("candidate", "what it is worth and costs"),
        [one["name"] for one in candidates],
        [metric.title, "95 % from", "to", "fit s", "row µs", "size KiB", "memory MiB"],
        [_line(one, metric) for one in candidates],
        notes=[
            reason,
            "95 % is of resampled days, or of rows without a time. A row is timed where it was fitted, without HTTP. "
            "Memory is what the fit took beyond the process as it was.",
        ],
        whose="the validation rows",
    )


def _line(fitted: Mapping[str, Any], metric: MetricFacts) -> list[Cell]:
    cost = fitted["cost"]
    low, high = fitted["interval"] or (None, None)
    row, size, memory = cost.get("row_seconds"), cost.get("bytes"), cost.get("fit_memory_bytes")
    return [
        fitted["metrics"].get(metric.name),
        low,
        high,
        cost.get("fit_seconds"),
        None if row is None else round(row * 1e6, 1),
        None if size is None else round(size / 2**10, 1),
        None if memory is None else round(memory / 2**20, 1),
    ]

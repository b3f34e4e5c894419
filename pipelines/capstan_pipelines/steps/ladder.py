"""The ladder of a run: its candidates from simple to complex, how good each is and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capstan.evaluation.tables import Cell, table
from capstan.spec.models import PlannedModel
from capstan.spec.tasks import MetricFacts

_OF_VALIDATION = (
    "95 % is of resampled days, or of rows without a time. A row is timed where it was fitted, without HTTP. "
    "Memory is what the fit took beyond the process as it was."
)
_OF_FOLDS = (
    "Mean of {folds} folds; spread is their standard deviation. Seconds of a fit are the mean of the folds. Memory is "
    "that of the largest."
)


def ladder(candidates: Sequence[Mapping[str, Any]], metric: MetricFacts, reason: str) -> dict[str, Any]:
    """A table of what the step `fit` wrote of each candidate; a failed one has no values."""
    folds: list[float] = next((one["folds"]["values"] for one in candidates if one.get("folds")), [])
    sure = ["spread", "worst fold"] if folds else ["95 % from", "to"]
    return table(
        "Ladder",
        ("candidate", "what it is worth and costs"),
        [one["name"] for one in candidates],
        [metric.title, *sure, "fit s", "row µs", "size KiB", "memory MiB"],
        [_line(one, metric) for one in candidates],
        notes=[
            reason,
            *(_beginning(one) for one in candidates if one.get("left_out") or one.get("parent")),
            _OF_FOLDS.format(folds=len(folds)) if folds else _OF_VALIDATION,
        ],
        whose=_whose(candidates),
    )


def _whose(candidates: Sequence[Mapping[str, Any]]) -> str:
    return "the folds" if any(one.get("folds") for one in candidates) else "the validation rows"


def distilled(
    models: Sequence[PlannedModel], candidates: Sequence[Mapping[str, Any]], metric: MetricFacts
) -> list[dict[str, Any]]:
    """A table of each student beside its teacher and beside its own family without one; nothing without students."""
    known = {one["name"]: one for one in candidates}
    rows, cells = [], []
    for model in models:
        named = {one.name: one for one in model.candidates}
        for student in model.candidates:
            if student.distil is None:
                continue
            shown = {
                student.distil.of: f"{student.distil.of}, teacher of {student.name}",
                student.name: student.name,
                student.distil.into: f"{student.distil.into}, without a teacher",
            }
            for name in shown:
                fitted = known.get(model.fit_name(named[name])) if name in named else None
                if fitted is not None:
                    rows.append(shown[name])
                    line = _line(fitted, metric)
                    cells.append([line[0], line[4], line[5]])
    if not rows:
        return []
    columns = [metric.title, "row µs", "size KiB"]
    return [
        table("Distilled", ("candidate", "before and after"), rows, columns, cells, whose=_whose(candidates))
    ]


def _beginning(fitted: Mapping[str, Any]) -> str:
    """What a candidate that goes on with the champion began with, or why it was left out."""
    if fitted.get("left_out"):
        return f"{fitted['name']} is left out: {fitted['left_out']}."
    parent = fitted["parent"]
    since = f"{parent['rows']:,} rows since {parent['since']}"
    return f"{fitted['name']} goes on with {parent['version']}: it learnt {since}."


def _line(fitted: Mapping[str, Any], metric: MetricFacts) -> list[Cell]:
    cost = fitted["cost"]
    low, high = fitted["interval"] or (None, None)
    if folds := fitted.get("folds"):
        low, high = folds["spread"], min(folds["values"], key=lambda value: metric.sign * value)
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

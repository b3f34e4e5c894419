"""Tables of a report: what page, terminal and replay draw alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from capstan.evaluation.slices import Slice
from capstan.spec.tasks import TaskFacts

Cell = float | int | str | None
"""None: not known."""
_DIGITS = 4
SHOWN_METRICS = 4
"""Metrics in a table of parts, the first of the task's; the rest stand in the run's artifacts."""


def table(
    title: str,
    names: tuple[str, str],
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[Cell]],
    *,
    notes: Sequence[str] = (),
    whose: str = "",
) -> dict[str, Any]:
    """As the `tables` of a task's details are; `names` are those of the rows and of the columns.

    `whose` says on which rows it was measured; empty: on those that the whole report is of.
    """
    return {
        **({"whose": whose} if whose else {}),
        "title": title,
        "of_rows": names[0],
        "of_columns": names[1],
        "rows": list(rows),
        "columns": list(columns),
        "cells": [[_plain(cell) for cell in row] for row in cells],
        "notes": list(notes),
    }


def slice_tables(slices: Sequence[Slice], facts: TaskFacts) -> list[dict[str, Any]]:
    """One for each column: its values with their rows and the first metrics."""
    shown = facts.metrics[:SHOWN_METRICS]
    found = []
    for column in dict.fromkeys(part.column for part in slices):
        parts = [part for part in slices if part.column == column]
        found.append(
            table(
                f"Slices by {column}",
                (column, "metric"),
                [part.value for part in parts],
                ["rows", *(metric.title for metric in shown)],
                [[part.rows, *(part.metrics[metric.name] for metric in shown)] for part in parts],
            )
        )
    return found


def with_tables(details: Mapping[str, Any], tables: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The details with further tables behind their own."""
    return {**details, "tables": [*details.get("tables", ()), *tables]} if tables else details


def _plain(cell: Cell) -> Cell:
    if isinstance(cell, float):
        return round(cell, _DIGITS) if math.isfinite(cell) else None
    return cell

"""Offline metrics on the console and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from capstan.cli.console import out
from capstan.cli.tables_shown import print_tables

if TYPE_CHECKING:
    from capstan.evaluation.offline.measured import Evaluation, Figure


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """As JSON; what is not defined is null."""
    return {
        "task": evaluation.task,
        "rows": evaluation.rows,
        "leftOut": evaluation.left_out,
        "intervals": {"confidence": 0.95, "drawn": evaluation.drawn_by},
        "metrics": [
            {name: _known(value) for name, value in asdict(figure).items()} for figure in evaluation.figures
        ],
        "slices": [
            {**asdict(one), "metrics": {name: _known(value) for name, value in one.metrics.items()}}
            for one in evaluation.slices
        ],
        **evaluation.details,
    }


def show_evaluation(evaluation: Evaluation) -> None:
    """Print it."""
    left_out = f", {evaluation.left_out:,} left out without a label" if evaluation.left_out else ""
    drawn = f"; intervals of 95 %, drawn from {evaluation.drawn_by}" if evaluation.drawn_by else ""
    out.print(f"{evaluation.task}: {evaluation.rows:,} rows{left_out}{drawn}", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for title, justify in (("metric", "left"), ("value", "right"), ("interval", "left"), ("better", "left")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("note", overflow="fold")
    for figure in evaluation.figures:
        value = f"{figure.value:.4g}" if math.isfinite(figure.value) else "not defined"
        table.add_row(figure.title, value, _interval(figure), figure.better.lower(), figure.note)
    out.print(table)
    tables = list(evaluation.details.get("tables", ()))
    if evaluation.slices:
        from capstan.evaluation.tables import slice_tables
        from capstan.spec.tasks import TASK_FACTS

        tables += slice_tables(evaluation.slices, TASK_FACTS[evaluation.task])
    print_tables(tables, "the judged rows")
    for note in evaluation.details.get("notes", ()):
        out.print(note, markup=False, soft_wrap=True)


def _interval(figure: Figure) -> str:
    if not (math.isfinite(figure.low) and math.isfinite(figure.high)):
        return "-"
    return f"{figure.low:.4g} to {figure.high:.4g}"


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

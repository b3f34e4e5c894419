"""What the checks of a run found, as its report shows it and as its folder keeps it row by row."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstan.evaluation.tables import table

if TYPE_CHECKING:
    from capstan.data import CheckReport

CHECKS = "checks.csv"
"""In the run's folder."""


def checks_table(report: CheckReport, rows: int) -> dict[str, Any] | None:
    """A row for each rule that is broken, of a table of so many rows; None if all are kept."""
    if not report.violations:
        return None
    dropped = report.dropped
    left_out = 0 if dropped is None else int(dropped.sum())
    return table(
        "Checks",
        ("rule", "what became of it"),
        [f"{one.column} {one.rule}" for one in report.violations],
        ["severity", "rows", "first ids"],
        [[one.severity, one.rows, ", ".join(one.ids)] for one in report.violations],
        notes=[
            f"{left_out:,} of {rows:,} rows are left out; {CHECKS} in the run's folder lists rows one by one."
        ],
        whose="all rows that were read",
    )


def write_checks(report: CheckReport, folder: Path) -> None:
    """Each row that breaks a rule, with its value; nothing where the run's folder can't be written to."""
    if not report.violations:
        return
    with suppress(OSError), (folder / CHECKS).open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["column", "rule", "severity", "id", "value"])
        for one in report.violations:
            lines.writerows([one.column, one.rule, one.severity, *row] for row in one.listed or [("", "")])

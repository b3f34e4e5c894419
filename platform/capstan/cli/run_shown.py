"""A training run as the terminal shows it: steps, candidates, gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capstan.cli.console import out
from capstan.cli.tables_shown import print_tables
from capstan.domain.step_news import lasted

if TYPE_CHECKING:
    from capstan.domain.training import RunStatus

MARKS = {"Succeeded": "[green]ok[/green]", "Failed": "[red]failed[/red]", "Running": "[cyan]runs[/cyan]"}


def print_status(status: RunStatus) -> None:
    """Steps with their times, candidates with their metrics, gates with their words, tables of the test window."""
    from rich.markup import escape
    from rich.table import Table

    if status.steps:
        table = Table("step", "", "time", "message", box=None, pad_edge=False)
        table.columns[3].overflow = "fold"
        for step in status.steps:
            mark = MARKS.get(step.phase.value, step.phase.value)
            table.add_row(
                step.name,
                mark,
                lasted(step.started_at, step.finished_at),
                escape(step.message.splitlines()[0]) if step.message else "",
            )
        out.print(table)
    print_candidates(status)
    for gate in status.gates:
        word = {True: "[green]passed[/green]", False: "[red]not passed[/red]"}.get(gate.passed is True)
        out.print(f"gate {gate.metric} {word}: {escape(gate.message)}", soft_wrap=True)
    print_tables(status.details.get("tables", ()), "the test window")


def print_candidates(status: RunStatus) -> None:
    """One row per metric, one column per candidate: metrics are many and candidates few. Then what went wrong."""
    from rich.markup import escape

    _print_metrics(status)
    if status.chosen:
        out.print(f"chosen: [bold]{escape(status.chosen_in_words)}[/bold]")
    for name, reason in status.failed.items():
        out.print(f"candidate {escape(name)} [red]failed[/red]: {escape(reason)}", soft_wrap=True)
    for warning in status.warnings:
        out.print(f"[yellow]warning[/yellow] {escape(warning)}", soft_wrap=True)


def _print_metrics(status: RunStatus) -> None:
    from rich.table import Table

    if not status.candidates:
        return
    metrics = list(dict.fromkeys(name for values in status.candidates.values() for name in values))
    table = Table("metric", *status.candidates, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for metric in metrics:
        table.add_row(
            metric,
            *(f"{one[metric]:.4f}" if metric in one else "-" for one in status.candidates.values()),
        )
    out.print(table)

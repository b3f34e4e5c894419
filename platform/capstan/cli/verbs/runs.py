"""`capstan runs`: every training, why it ran and what came of it; and the last batches of predictions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, local, out, print_json
from capstan.cli.place import Context, Machine, Namespace, Place, place_of
from capstan.cli.run_shown import print_status
from capstan.cli.stored_system import AnySystem
from capstan.cli.tables_shown import aligned
from capstan.domain.step_news import lasted
from capstan.domain.training import RunPhase

if TYPE_CHECKING:
    from pathlib import Path

    from capstan.monitoring.causes.told import Why
    from capstan.ports.store import Record
    from capstan.verbs.batches import Batch
    from capstan.verbs.trainings import Run

app = App()


@app.command(epilog="Example: capstan runs last")
def runs(
    run: Annotated[
        str | None,
        typer.Argument(help="A run, the beginning of its name, or `last`; default: all.", show_default=False),
    ] = None,
    system: AnySystem = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    json: Json = False,
) -> None:
    """List the trainings, the newest last, and the last batches of predictions; or show a training with its steps.

    Of one training it shows candidates, gates and what it led to as well.
    """
    with honest_errors(json):
        from capstan.verbs.batches import batches_of
        from capstan.verbs.trainings import runs_of

        place = place_of(state, context, namespace)
        if isinstance(place, Machine) and system is not None:
            place = place.of(system)
        with place.store() as store:
            found = runs_of(store, system, lambda record: _folder(place, record))
            _show(place, found, batches_of(store, system), run, json)


def _folder(place: Place, record: Record) -> Path | None:
    return place.state.runs(record.system) / record.name if isinstance(place, Machine) else None


def _reasons(place: Place, run: Run) -> list[Why]:
    """Why the alerts fired that asked for the run; none where none did, or where the monitor does not answer."""
    if not run.request.trigger.alerts:
        return []
    from capstan.cli.told_windows import told_windows
    from capstan.errors import CapstanError

    with suppress(CapstanError):
        return run.reasons(told_windows(place, run.request.system))
    return []


def _show(place: Place, found: list[Run], batches: list[Batch], run: str | None, json: bool) -> None:
    from capstan.verbs.trainings import chosen

    if run is None:
        if json:
            print_json({"trainings": [one.row() for one in found], "batches": [one.row() for one in batches]})
            return
        _table(found)
        if batches:
            _batches(batches)
        return
    one = chosen(found, run)
    why = _reasons(place, one)
    if json:
        print_json({**one.document(), "why": [asdict(reason) for reason in why]})
    else:
        _print(one, why)


def _print(run: Run, why: list[Why]) -> None:
    from rich.markup import escape

    row = run.row()
    out.print(f"[bold]{run.request.run}[/bold] {row['phase']}", soft_wrap=True)
    out.print(f"{row['trigger']} as of {local(row['as_of'])}: {escape(row['reason'])}", soft_wrap=True)
    for reason in why:
        out.print(f"why {reason.alert}: {escape(' '.join(reason.sentences))}", soft_wrap=True)
    out.print(f"against {row['against'] or 'nobody'}; version {row['version'] or 'none'}")
    if run.status:
        print_status(run.status)
        for runner_up in run.status.runners_up:
            word = "[red]not passed[/red]: " if runner_up.missed else "[green]passed[/green]"
            out.print(
                f"runner-up {runner_up.version.name} ({escape(runner_up.candidate)}), gates "
                f"{word}{escape(runner_up.missed)}",
                soft_wrap=True,
            )
        if run.status.message and row["phase"] == "Failed":
            out.print(escape(run.status.message), soft_wrap=True)
    if run.data_report is not None:
        out.print(f"report of its data: {escape(str(run.data_report))}", soft_wrap=True)
    out.print("what it came from and led to")
    for event in run.lineage():
        out.print(f"  [dim]{local(event.at)}[/dim] {event.reason} {escape(event.message)}", soft_wrap=True)


def _table(found: list[Run]) -> None:
    from rich.table import Table

    if not found:
        out.print("no training yet")
        return
    table = Table("run", "trigger", "as of", "result", "took", "version", "", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.no_wrap = True
    for one in found:
        row = one.row()
        result = "not passed" if row["gates_passed"] is False else row["phase"]
        version = f"{row['version']} {row['chosen'] or ''}".rstrip() if row["version"] else "-"
        lost = len(row["failed_candidates"])
        day = f"{row['as_of']:%Y-%m-%d}"
        told = len(row["warnings"])
        others = ", ".join(other["version"] for other in row["runners_up"])
        notes = [f"runner{'s' if len(row['runners_up']) > 1 else ''}-up {others}"] if others else []
        notes += [f"{lost} candidate{'s' if lost > 1 else ''} failed"] if lost else []
        notes += [f"{told} warning{'s' if told > 1 else ''}"] if told else []
        table.add_row(row["run"], row["trigger"], day, result, lasted(*one.times), version, ", ".join(notes))
    out.print(table)


def _batches(found: list[Batch]) -> None:
    """Batches of one system, or of several one after the other."""
    rows: list[tuple[str, ...]] = [
        ("batch of rows", "result", "took", "read", "written", "refused", "by", "")
    ]
    for one in found:
        told = one.told
        is_known = told.phase is RunPhase.SUCCEEDED
        counts = [f"{count:,}" if is_known else "-" for count in (told.read, told.written, told.refused)]
        took = "-" if told.seconds is None else f"{told.seconds:.1f} s"
        again = f", try {told.attempt}" if told.attempt > 1 else ""
        stretch = f"{local(told.stretch.start)} to {local(told.stretch.end)}"
        note = " ".join((told.message or told.output).split())
        rows.append((stretch, f"{told.phase.value}{again}", took, *counts, told.version, note))
    out.print("")
    for line in aligned(rows):
        typer.echo(line)

"""`capstan validate`: all mistakes of a file at once, and of its data where it is asked to look."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, State

if TYPE_CHECKING:
    from capstan.data.inspection import Inspection

app = App()

_SHOWN_COLUMNS = 40


@app.command(
    epilog="Example: capstan validate --data system.yaml",
)
def validate(
    file: Annotated[Path, typer.Argument(help="The system's file.", show_default=False)],
    data: Annotated[
        bool,
        typer.Option(
            "--data", help="Also read the data as a training would, and tell what is in it and what is wrong."
        ),
    ] = False,
    state: State = DEFAULT_STATE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Check a system's file: every mistake with its line, or nothing wrong (exit 0).

    With --data secrets are read from the state directory, as `capstan train` reads them.
    """
    # Other commands must not pay for it at start-up.
    from capstan.verbs.validation import validated

    checked = validated(file, state, data=data, now=datetime.now(UTC))
    mistakes, name, found = checked.mistakes, checked.system, checked.found
    if as_json:
        document: dict[str, Any] = {
            "file": str(file),
            "valid": not mistakes,
            "system": name,
            "mistakes": [
                {"line": mistake.line, "path": mistake.path, "message": mistake.message}
                for mistake in mistakes
            ],
        }
        if checked.in_vain:
            document["warnings"] = list(checked.in_vain)
        if found is not None:
            document["data"] = _as_json(found)
        typer.echo(json.dumps(document, indent=2))
    else:
        if found is not None:
            _print_found(found)
        for warning in checked.in_vain:
            typer.echo(f"warning: {warning}")
        for mistake in mistakes:
            place = f"{file}:{mistake.line}" if mistake.line is not None else f"{file}"
            typer.echo(f"{place}: {mistake.path}: {mistake.message}")
        if mistakes:
            typer.echo(f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}", err=True)
        else:
            typer.echo(f"{file}: {name} is valid")
    if mistakes:
        raise typer.Exit(1)


def _as_json(found: Inspection) -> dict[str, Any]:
    return {
        "sources": [
            {"name": source.name, "columns": source.columns, "types": dict(source.types)}
            for source in found.sources
        ],
        "rows": found.rows,
        "columns": None if found.columns is None else dict(found.columns),
        "newest": None if found.newest is None else found.newest.isoformat(),
        "ageSeconds": None if found.age is None else round(found.age.total_seconds()),
        "parts": [
            {
                "name": part.name,
                "start": None if part.start is None else part.start.isoformat(),
                "end": None if part.end is None else part.end.isoformat(),
                "labels": part.rows,
                "tally": dict(part.labels.counts),
                "withoutLabel": part.unlabelled,
            }
            for part in found.parts
        ],
        "agreements": list(found.agreements),
        "warnings": list(found.warnings),
    }


def _print_found(found: Inspection) -> None:
    from capstan.spec.units import format_duration

    for source in found.sources:
        shown = [f"{column} {kind}" for column, kind in list(source.types.items())[:_SHOWN_COLUMNS]]
        more = f", and {source.columns - len(shown)} more" if source.columns > len(shown) else ""
        typer.echo(f"{source.name}: {source.columns} columns: {', '.join(shown)}{more}")
    if found.columns is not None:
        typer.echo(f"query: {found.rows:,} cases: {', '.join(f'{n} {k}' for n, k in found.columns.items())}")
    if found.newest is not None and found.age is not None:
        typer.echo(
            f"newest case: {found.newest:%Y-%m-%d %H:%M} UTC, {format_duration(_rounded(found.age))} ago"
        )
    for told in found.agreements:
        typer.echo(told)
    for part in found.parts:
        typer.echo(str(part))
    for warning in found.warnings:
        typer.echo(f"warning: {warning}")


def _rounded(age: timedelta) -> timedelta:
    unit = timedelta(days=1) if age >= timedelta(days=3) else timedelta(hours=1)
    unit = unit if age >= unit else timedelta(minutes=1)
    return max(0, age // unit) * unit

"""`capstan validate`: all mistakes of a file at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from capstan.errors import InvalidSpecError, Mistake

app = typer.Typer()


@app.command(
    epilog="Example: capstan validate examples/flight-delays/system.yaml",
)
def validate(
    file: Annotated[Path, typer.Argument(help="The system's file.", show_default=False)],
    data: Annotated[
        bool, typer.Option("--data", help="Also check that the data and modules it names are there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Check a system's file: every mistake with its line, or nothing wrong (exit 0)."""
    # Other commands must not pay for the grammar at start-up.
    from capstan.spec import load
    from capstan.spec.document import read_document
    from capstan.spec.location import path_text
    from capstan.spec.presence import missing_files

    mistakes: list[Mistake] = []
    name = None
    try:
        system = load(file)
        name = system.metadata.name
        if data and (findings := missing_files(system)):
            lines = read_document(file.read_bytes())
            mistakes = [
                Mistake(path_text(found.location), found.message, lines.line_of(found.location))
                for found in findings
            ]
    except InvalidSpecError as error:
        mistakes = error.mistakes
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "file": str(file),
                    "valid": not mistakes,
                    "system": name,
                    "mistakes": [
                        {"line": mistake.line, "path": mistake.path, "message": mistake.message}
                        for mistake in mistakes
                    ],
                },
                indent=2,
            )
        )
    elif mistakes:
        for mistake in mistakes:
            place = f"{file}:{mistake.line}" if mistake.line is not None else f"{file}"
            typer.echo(f"{place}: {mistake.path}: {mistake.message}")
        typer.echo(f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}", err=True)
    else:
        typer.echo(f"{file}: {name} is valid")
    if mistakes:
        raise typer.Exit(1)

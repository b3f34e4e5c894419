"""`capstan etl`: move rows from sources through transforms into files or a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, print_json
from capstan.cli.tables_shown import aligned

if TYPE_CHECKING:
    from capstan.data.etl import EtlStep

app = App()


@app.command(epilog="Example: capstan etl etl.yaml")
def etl(
    file: Annotated[Path, typer.Argument(help="A file of kind ETL, such as etl.yaml.")],
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Read sources, transform them by SQL or Python, and write files or tables of a database.

    Each target is replaced whole, so a second run gives the same. A run that was stopped goes on where it was.
    All rows are accounted for: read, dropped and why, written.
    """
    with honest_errors(json):
        from capstan.spec.etl import load_etl
        from capstan.verbs.etl import move_rows

        report = move_rows(load_etl(file), state)
    if json:
        print_json(report.document())
        return
    for line in aligned([("step", "table", "rows", "dropped", "kept", ""), *map(_cells, report.steps)]):
        typer.echo(line)


def _cells(step: EtlStep) -> tuple[str, ...]:
    dropped = ", ".join(f"{one.rows:,} {one.because}" for one in step.dropped if one.rows) or "-"
    told = f"into {step.into}" if step.into else "made by an earlier run" if step.resumed else ""
    return (step.part, step.name, f"{step.made:,}", dropped, f"{step.kept:,}", told)

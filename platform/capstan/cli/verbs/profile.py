"""`capstan profile`: what the columns of a table hold, and what looks wrong in them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import Json, honest_errors, print_json
from capstan.cli.tables_shown import aligned
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from capstan.spec.guessing import ColumnProfile

app = App()

_MOST_VALUES = 4
_LONGEST = 24
_LONGEST_VALUES = 60


@app.command(epilog="Example: capstan profile customers.csv")
def profile(
    file: Annotated[
        Path,
        typer.Argument(
            help="A table: CSV, Parquet or JSON lines.", show_default=False, exists=True, dir_okay=False
        ),
    ],
    column: Annotated[
        list[str] | None,
        typer.Option("--column", "-c", help="Only this column; may be repeated.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Show the columns of a table: type, missing and distinct values, range or most frequent values, what looks wrong.

    All rows are read. `capstan init` makes its guesses from the same facts. Exit code 0, also where
    something looks wrong: a person decides.
    """
    with honest_errors(json):
        from capstan.data.profiling import profile_table
        from capstan.spec.suspicious import suspicions

        table = profile_table(file)
        known = [one.name for one in table.columns]
        for name in column or ():
            if name not in known:
                raise NotFoundError(
                    f"--column {name}: {file} has none of this name; there are: {', '.join(known)}"
                )
        chosen = [one for one in table.columns if not column or one.name in column]
        found = {one.name: suspicions(one) for one in chosen}
    if json:
        documents = [{**asdict(one), "suspicions": found[one.name]} for one in chosen]
        print_json({"file": str(file), "kind": table.source, "rows": table.rows, "columns": documents})
        return
    rows = f"{table.rows:,} row{'' if table.rows == 1 else 's'}"
    typer.echo(f"{file}: {rows}, {len(table.columns)} columns")
    for line in aligned([("column", "type", "missing", "distinct", "values"), *map(_cells, chosen)]):
        typer.echo(line)
    told = [f"  {name}: {text}" for name, texts in found.items() for text in texts]
    typer.echo("")
    typer.echo("look at" if told else "nothing looks wrong")
    for line in told:
        typer.echo(line)


def _cells(column: ColumnProfile) -> tuple[str, ...]:
    share = column.missing / column.rows if column.rows else 0.0
    missing = f"{column.missing:,} ({share:.1%})" if column.missing else "-"
    distinct = "all" if column.is_unique else f"{column.distinct:,}"
    return (column.name, column.kind, missing, distinct, _values(column))


def _values(column: ColumnProfile) -> str:
    """A range where there is an order, else the most frequent ones."""
    if column.kind == "Number" and column.low is not None and column.high is not None:
        whole = ", whole numbers" if column.is_whole else ""
        return f"{column.low:g} to {column.high:g}{whole}"
    if column.first is not None and column.last is not None:
        return f"{_moment(column.first)} to {_moment(column.last)}"
    if column.is_unique and column.kind == "Text":
        return f"such as {_short(next(iter(column.counts), ''))}"
    words = [
        f"{_short(text)} {count / column.rows:.0%}"
        for text, count in list(column.counts.items())[:_MOST_VALUES]
    ]
    text = ", ".join(words)
    text = text if len(text) <= _LONGEST_VALUES else f"{text[:_LONGEST_VALUES]} …"
    return text + (", …" if column.distinct > _MOST_VALUES else "")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _moment(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"
